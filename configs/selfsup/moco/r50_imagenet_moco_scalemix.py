"""ResNet-50 on ImageNet by MoCo v2 with ScaleMix on the query view, 100 epochs on 8 GPUs.

Published top-1 of a linear probe: 67.2 in CropMix's table 3 (read off its image; no seeds, no spread), and 67.6 in the
README of asym-siam, whose method it is; its author had 67.1 to 67.2 when probing again. Without: 65.8. openmix has not
run it yet, so it claims no figure.
"""

_base_ = "./r50_imagenet_moco.py"
train_dataloader = dict(
    pipeline=[
        dict(
            type="Views",
            views=[
                [
                    dict(
                        type="ScaleMix",
                        size=224,
                        pipeline=[
                            dict(
                                type="RandomApply",
                                transforms=[
                                    dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
                                ],
                                p=0.8,
                            ),
                            dict(type="RandomGrayscale", p=0.2),
                            dict(
                                type="RandomApply",
                                transforms=[dict(type="GaussianBlur", kernel_size=23, sigma=[0.1, 2.0])],
                                p=0.5,
                            ),
                            dict(type="RandomHorizontalFlip"),
                        ],
                    )
                ],
                [
                    dict(type="RandomResizedCrop", size=224, scale=[0.2, 1.0]),
                    dict(
                        type="RandomApply",
                        transforms=[dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)],
                        p=0.8,
                    ),
                    dict(type="RandomGrayscale", p=0.2),
                    dict(
                        type="RandomApply",
                        transforms=[dict(type="GaussianBlur", kernel_size=23, sigma=[0.1, 2.0])],
                        p=0.5,
                    ),
                    dict(type="RandomHorizontalFlip"),
                ],
            ],
        )
    ]
)
