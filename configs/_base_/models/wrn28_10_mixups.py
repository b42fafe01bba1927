# WRN-28-10 as ResizeMix has it, from fast-autoaugment.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="WideResNet", depth=28, widen_factor=10, variant="faa"),
    head=dict(type="ClsMixupHead", num_classes=10, init="torch"),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
