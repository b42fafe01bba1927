# PreActResNet-18 as R-Mix has it.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="PreActResNet", depth=18),
    head=dict(type="ClsMixupHead", num_classes=10, init="torch"),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
