"""A small network on CIFAR-10 by SimCLR with CropMix on one of the two views, 2 epochs on a CPU.

The loss has no direction: the mixed view and the plain one are each other's positive. CropMix's authors have it for
MoCo alone. Expect what docs/selfsup.md says; nobody has published a figure for it.
"""

_base_ = "./convnet_cifar10_simclr.py"
train_dataloader = dict(
    pipeline=[
        dict(
            type="Views",
            views=[
                [
                    dict(
                        type="CropMixPair",
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
