"""ResNet-50 on ImageNet with RandAugment (2 operations of magnitude 9 in 30) instead of mixing, 300 epochs: a row of
ResizeMix's ImageNet table.

Published top-1: 77.60 (ResizeMix's README; no seeds, no spread). The figure is quoted there from RandAugment's paper,
whose N and M for this network these are; the operations are torchvision's. The recipe is that of the other rows. 512
images a step: run it on 8 processes, or set optim_wrapper.accumulative_counts. openmix has not run it yet, so it
claims no figure.
"""

_base_ = "./r50_baseline.py"
train_dataloader = dict(
    pipeline=[
        dict(type="RandomResizedCrop", size=224),
        dict(type="RandomHorizontalFlip"),
        dict(type="RandAugment", num_ops=2, magnitude=9),
    ],
)
