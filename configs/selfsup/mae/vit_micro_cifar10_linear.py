"""A linear probe of vit_micro_cifar10_mae.py's class token on CIFAR-10, the trunk frozen: 20 epochs on a CPU.

MAE's probe: BatchNorm without weights before the classifier, LARS, no decay. For another checkpoint: --cfg-options
load_from=FILE. Expect what docs/selfsup.md says; nobody has published a figure for this network.
"""

_base_ = [
    "../../_base_/datasets/cifar10.py",
    "../../_base_/schedules/mae_linear.py",
    "../../_base_/runtime_selfsup.py",
]
train_dataloader = dict(batch_size=256)
model = dict(
    type="LinearProbe",
    backbone=dict(
        type="TimmBackbone",
        name="vit_tiny_patch16_224",
        img_size=32,
        model_args=dict(patch_size=4, embed_dim=64, depth=4, num_heads=4),
    ),
    head=dict(type="ClsHead", num_classes=10),
    norm=True,
)
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [dict(type="CosineAnnealingLR", eta_min=0.0, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=20)
load_from = "work_dirs/vit_micro_cifar10_mae/checkpoints/last.pth"
