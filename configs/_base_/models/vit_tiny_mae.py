# IcarusWizard's masked autoencoder for CIFAR-10: ViT-Tiny on patches of 2 pixels, 64 of 256 seen, and 4 blocks of 192
# channels as a decoder. Its loss is of plain pixels.
model = dict(
    type="MAE",
    backbone=dict(type="TimmBackbone", name="vit_tiny_patch16_224", img_size=32, model_args=dict(patch_size=2)),
    probe=dict(type="ClsHead", num_classes=10),
    decoder=dict(type="MAEDecoder", embed_dim=192, depth=4, num_heads=3),
    norm_pix_loss=False,
)
