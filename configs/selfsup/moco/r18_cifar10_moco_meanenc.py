"""ResNet-18 on CIFAR-10 by MoCo v2 with two key views whose mean is the key, 200 epochs: asym-siam's MeanEnc.

Wang et al. (CVPR 2022) have it for ImageNet: 67.7 by a linear probe, 65.8 without (ResNet-50, 100 epochs). For CIFAR
nobody has published a figure. openmix has not run it yet, so it claims none either.
"""

_base_ = "./r18_cifar10_moco.py"
train_dataloader = dict(
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
                ],
                [
                    dict(type="RandomResizedCrop", size=32, scale=[0.08, 1.0]),
                    dict(type="RandomHorizontalFlip"),
                    dict(
                        type="RandomApply",
                        transforms=[dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
                        p=0.8,
                    ),
                    dict(type="RandomGrayscale", p=0.2),
                ],
                [
                    dict(type="RandomResizedCrop", size=32, scale=[0.08, 1.0]),
                    dict(type="RandomHorizontalFlip"),
                    dict(
                        type="RandomApply",
                        transforms=[dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
                        p=0.8,
                    ),
                    dict(type="RandomGrayscale", p=0.2),
                ],
            ],
        )
    ]
)
