# WRN-28-8 as OpenMixup has it.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="WideResNet", depth=28, widen_factor=8, variant="openmixup"),
    head=dict(type="ClsMixupHead", num_classes=10),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
