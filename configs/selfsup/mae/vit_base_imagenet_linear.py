"""A linear probe of a masked autoencoder's class token on ImageNet, ViT-B/16, the trunk frozen: 90 epochs of LARS.

MAE's recipe, for 16384 images a step: 8 processes of 512 that accumulate 4. Published for mmpretrain's MAE of 300
epochs: 60.8, of 1600: 67.1; none for CropMix. Its crops are torchvision's, the authors' draw an area but once. For
another checkpoint: --cfg-options load_from=FILE. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../_base_/datasets/imagenet_openmixup.py",
    "../../_base_/schedules/mae_linear.py",
    "../../_base_/runtime_selfsup.py",
]
train_dataloader = dict(batch_size=512)
model = dict(
    type="LinearProbe",
    backbone=dict(type="TimmBackbone", name="vit_base_patch16_224"),
    head=dict(type="ClsHead", num_classes=1000),
    norm=True,
)
optim_wrapper = dict(accumulative_counts=4)
load_from = "work_dirs/vit_base_imagenet_mae/checkpoints/last.pth"
