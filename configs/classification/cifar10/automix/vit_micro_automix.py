"""A small vision transformer on CIFAR-10 with AutoMix: masks are made of the 8x8 tokens of its second block.

Expect 32.5 % after one epoch (seed 0; docs/benchmarks/cifar10.csv); nobody has published a figure for this network.
The momentum encoder (top1_k) follows slowly: after a few epochs it says little.
"""

_base_ = [
    "../../../_base_/datasets/cifar10.py",
    "../../../_base_/models/automix.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(
        type="TimmBackbone",
        name="vit_tiny_patch16_224",
        img_size=32,
        model_args=dict(patch_size=4, embed_dim=48, depth=3, num_heads=3),
    ),
    head=dict(num_classes=10),
    mix_block=dict(lam_concat=True),
    mask_layer=1,
)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(max_epochs=3)
