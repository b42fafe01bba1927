# ResNeXt-50 (32x4d) for 32-pixel images, as OpenMixup has it.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="ResNeXt_CIFAR", depth=50),
    head=dict(type="ClsMixupHead", num_classes=10),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
