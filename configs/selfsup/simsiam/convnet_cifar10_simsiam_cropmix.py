"""A small network on CIFAR-10 by SimSiam with CropMix on the view that predicts, 2 epochs on a CPU.

A plain view is predicted from a mixed one and never the other way round, so that the step has half of the terms of the
symmetric one; to see what CropMix does, compare with convnet_cifar10_simsiam.py and model.symmetric=False. Expect what
docs/selfsup.md says; for CIFAR nobody has published a figure.
"""

_base_ = "./convnet_cifar10_simsiam.py"
model = dict(symmetric=False)
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
