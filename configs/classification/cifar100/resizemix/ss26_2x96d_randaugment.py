"""Shake-Shake 26 2x96d on CIFAR-100 with RandAugment (2 operations of magnitude 14 in 30) instead of mixing, 1800
epochs: a row of ResizeMix's CIFAR-100 table.

ResizeMix's README publishes no figure for this cell. N and M are those of ResizeMix's code, the operations
torchvision's. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./ss26_2x96d_baseline.py"
train_dataloader = dict(
    type="TorchLoader",
    num_workers=8,
    pipeline=[
        dict(type="RandAugment", num_ops=2, magnitude=14),
        dict(type="RandomCrop", size=32, padding=4),
        dict(type="RandomHorizontalFlip"),
    ],
)
