"""vit_tiny_cifar10_mae.py with CropMix as its augmentation: mixup of 2, 3 or 4 crops of 0.2 to 1 of the area, flips.

The baseline has no augmentation at all, so that the two differ in more than CropMix; plain crops beside it are
train_dataloader.pipeline of vit_micro_cifar10_mae.py. No CIFAR figure of it has been published. openmix has not run it
yet, so it claims no figure.
"""

_base_ = "./vit_tiny_cifar10_mae.py"
train_dataloader = dict(
    pipeline=[
        dict(type="CropMix", scale=0.2, mix_ratio=0.4, number=234, operation=0, inter_aug=False, size=32),
        dict(type="RandomHorizontalFlip"),
    ]
)
