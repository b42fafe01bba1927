# The encoder of vit_micro_mae.py as a classifier; the class token is pooled, as the online probe pools it.
model = dict(
    type="MixUpClassification",
    backbone=dict(
        type="TimmBackbone",
        name="vit_tiny_patch16_224",
        img_size=32,
        model_args=dict(patch_size=4, embed_dim=64, depth=4, num_heads=4),
    ),
    head=dict(type="ClsMixupHead", num_classes=10),
    mix_mode="vanilla",
)
