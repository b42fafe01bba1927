"""vit_micro_cifar10_mae.py with CropMix as the crop: mixup of 2, 3 or 4 crops of 0.2 to 1 of the area.

CropMix's settings for MAE on ImageNet (no permuted channels). No CIFAR figure of it has been published; expect what
docs/selfsup.md says.
"""

_base_ = "./vit_micro_cifar10_mae.py"
train_dataloader = dict(
    pipeline=[
        dict(type="CropMix", scale=0.2, mix_ratio=0.4, number=234, operation=0, inter_aug=False, size=32),
        dict(type="RandomHorizontalFlip"),
    ]
)
