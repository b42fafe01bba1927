# ResNet-50 as OpenMixup has it: every block begins as the identity.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="ResNet", depth=50, zero_init_residual=True),
    head=dict(type="ClsMixupHead", num_classes=1000),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
