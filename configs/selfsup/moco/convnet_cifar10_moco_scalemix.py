"""A small network on CIFAR-10 by MoCo v2 with ScaleMix on the query view, 2 epochs on a CPU.

Two crops of 0.2 to 1 of the area, each with flips and colours of its own, and a CutMix box of one in the other, as
asym-siam (Wang et al., CVPR 2022) has it for ImageNet; the key is one plain view. Expect what docs/selfsup.md says; for
CIFAR nobody has published a figure.
"""

_base_ = "./convnet_cifar10_moco.py"
train_dataloader = dict(
    pipeline=[
        dict(
            type="Views",
            views=[
                [
                    dict(
                        type="ScaleMix",
                        size=32,
                        pipeline=[
                            dict(type="RandomHorizontalFlip"),
                            dict(
                                type="RandomApply",
                                transforms=[
                                    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
                                ],
                                p=0.8,
                            ),
                            dict(type="RandomGrayscale", p=0.2),
                        ],
                    )
                ],
                [
                    dict(type="RandomResizedCrop", size=32, scale=[0.2, 1.0]),
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
