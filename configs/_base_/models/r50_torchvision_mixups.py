# torchvision's ResNet-50, which ResizeMix and R-Mix train.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="ResNet", depth=50),
    head=dict(type="ClsMixupHead", num_classes=1000, init="torch"),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
