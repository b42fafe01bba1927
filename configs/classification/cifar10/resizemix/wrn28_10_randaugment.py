"""WRN-28-10 on CIFAR-10 with RandAugment (2 operations of magnitude 14 in 30) instead of mixing, 200 epochs: a row of
ResizeMix's CIFAR-10 table.

Published top-1: 97.30 (ResizeMix's README; no seeds, no spread, best or last epoch not said). The figure is quoted
there from RandAugment's paper; N and M are those of ResizeMix's code, the operations torchvision's. openmix has not
run it yet, so it claims no figure.
"""

_base_ = "./wrn28_10_baseline.py"
train_dataloader = dict(
    type="TorchLoader",
    num_workers=8,
    pipeline=[
        dict(type="RandAugment", num_ops=2, magnitude=14),
        dict(type="RandomCrop", size=32, padding=4),
        dict(type="RandomHorizontalFlip"),
    ],
)
