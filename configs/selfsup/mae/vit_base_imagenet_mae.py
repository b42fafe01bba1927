"""ViT-B/16 on ImageNet as a masked autoencoder, 200 epochs: the baseline of CropMix's table, by its command.

Published top-1 after fine-tuning: 82.4 (Table 4 of arXiv:2205.15955, read off its image; no seeds, no spread). 4096
images a step: 8 processes of 64 that accumulate 8. The authors' precision is fp16: --amp fp16, or bf16. openmix has not
run it yet, so it claims no figure.
"""

_base_ = [
    "../../_base_/datasets/imagenet_mae.py",
    "../../_base_/schedules/mae.py",
    "../../_base_/runtime_selfsup.py",
]
model = dict(
    type="MAE",
    backbone=dict(type="TimmBackbone", name="vit_base_patch16_224"),
    probe=dict(type="ClsHead", num_classes=1000),
    decoder=dict(type="MAEDecoder", embed_dim=512, depth=8, num_heads=16),
)
optim_wrapper = dict(accumulative_counts=8)
