"""ResNet-18 on CIFAR-10 by MoCo v2 with a strong query view and a weak key view, 200 epochs: asym-siam's AsymAug.

The query has RandAugment (two operations of magnitude 10) after the demo's flips and colours, the key crops and flips
alone. Wang et al. (CVPR 2022) have it for ImageNet, with blur, and crops of 0.2 to 1 for the query: 67.2 by a linear
probe, 65.8 without (ResNet-50, 100 epochs). RandAugment is done image by image, so that worker processes load the data.
For CIFAR nobody has published a figure. openmix has not run it yet, so it claims none either.
"""

_base_ = "./r18_cifar10_moco.py"
train_dataloader = dict(
    type="TorchLoader",
    num_workers=8,
    pipeline=[
        dict(
            type="Views",
            views=[
                [
                    dict(type="RandomResizedCrop", size=32, scale=[0.08, 1.0]),
                    dict(type="RandomHorizontalFlip"),
                    dict(
                        type="RandomApply",
                        transforms=[dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
                        p=0.8,
                    ),
                    dict(type="RandomGrayscale", p=0.2),
                    dict(type="TimmAutoAugment", policy="rand-m10-n2-mstd0.5"),
                ],
                [
                    dict(type="RandomResizedCrop", size=32),
                    dict(type="RandomHorizontalFlip"),
                ],
            ],
        )
    ],
)
