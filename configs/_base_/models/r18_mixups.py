# ResNet-18 for 32-pixel images, cross entropy weighted by the mix ("CE_none" in OpenMixup's names).
model = dict(
    type="MixUpClassification",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    head=dict(type="ClsMixupHead", num_classes=10),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
