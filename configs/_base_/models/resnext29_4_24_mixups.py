# ResNeXt-29 4x24d as R-Mix has it.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="ResNeXt29_4_24"),
    head=dict(type="ClsMixupHead", num_classes=10, init="he"),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
