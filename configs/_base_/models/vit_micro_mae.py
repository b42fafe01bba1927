# A vision transformer of 0.2 M parameters, 4 blocks of 64 channels, that sees 16 of the 8x8 patches of a 32x32 image,
# and a decoder of 2 blocks.
model = dict(
    type="MAE",
    backbone=dict(
        type="TimmBackbone",
        name="vit_tiny_patch16_224",
        img_size=32,
        model_args=dict(patch_size=4, embed_dim=64, depth=4, num_heads=4),
    ),
    probe=dict(type="ClsHead", num_classes=10),
    decoder=dict(type="MAEDecoder", embed_dim=64, depth=2, num_heads=4),
)
