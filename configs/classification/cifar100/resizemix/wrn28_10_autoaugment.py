"""WRN-28-10 on CIFAR-100 with AutoAugment and Cutout instead of mixing, 200 epochs: a row of ResizeMix's CIFAR-100
table.

Published top-1: 82.91 (ResizeMix's README; no seeds, no spread, best or last epoch not said). The figure is quoted
there from AutoAugment's paper, which erases a square as well; the policy is torchvision's. openmix has not run it
yet, so it claims no figure.
"""

_base_ = "./wrn28_10_baseline.py"
train_dataloader = dict(
    type="TorchLoader",
    num_workers=8,
    pipeline=[
        dict(type="RandomCrop", size=32, padding=4),
        dict(type="RandomHorizontalFlip"),
        dict(type="AutoAugment", policy="cifar10"),
        dict(type="Cutout", size=16, fill=[125, 123, 114]),
    ],
)
