"""A small network on CIFAR-10 with TrivialAugment on each image, by torchvision, and CutMix after it.

torchvision's RandAugment(num_ops=2, magnitude=9), AutoAugment(policy="cifar10") and AugMix() go in the same place.
These transforms work image by image, in TorchLoader's workers. Nobody has published a figure for this network.
"""

_base_ = "./convnet_cutmix_CE_none.py"
train_dataloader = dict(
    type="TorchLoader",
    num_workers=2,
    pipeline=[
        dict(type="RandomCrop", size=32, padding=4),
        dict(type="RandomHorizontalFlip"),
        dict(type="TrivialAugmentWide"),
    ],
)
