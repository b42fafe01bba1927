# The two views of cifar10_views.py with CropMix on the first: a CutMix box of a crop of 0.6 to 1 of the area in one of
# 0.2 to 0.6, each with flips and colours of its own.
_base_ = "./cifar10_views.py"
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
