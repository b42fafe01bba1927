# A vision transformer of 0.09 M parameters: 3 blocks, 3 heads, 8x8 patches of 32x32 images, and a class token.
model = dict(
    type="MixUpClassification",
    backbone=dict(
        type="TimmBackbone",
        name="vit_tiny_patch16_224",
        img_size=32,
        model_args=dict(patch_size=4, embed_dim=48, depth=3, num_heads=3),
    ),
    head=dict(type="ClsMixupHead", num_classes=10),
    alpha=None,  # each method's own
    mix_mode="mixup",
    mix_prob=None,
    mix_repeat=1,
    mix_args=dict(),
)
