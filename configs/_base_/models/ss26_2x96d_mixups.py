# Shake-Shake 26 2x96d with noise of its own for each image, forward and backward.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="ShakeShake", depth=26, width=96),
    head=dict(type="ClsMixupHead", num_classes=10, init="torch_no_bias"),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
