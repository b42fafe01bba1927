# DeiT-S, timm's, with the stochastic depth of DeiT's recipe.
model = dict(
    type="MixUpClassification",
    backbone=dict(type="TimmBackbone", name="deit_small_patch16_224", drop_path_rate=0.1),
    head=dict(type="ClsMixupHead", num_classes=1000, label_smoothing=0.1),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
