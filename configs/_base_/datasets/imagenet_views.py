# ImageNet as two views of each image as MoCo v2 has it, 32 images on each of 8 GPUs. Its blur is PIL's, three boxes
# that come near a Gaussian; this one is a Gaussian of 23 pixels, as SimCLR's. No kNN: its bank would be 1.28 million
# features of 2048 numbers.
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=32,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="train"),
    pipeline=[
        dict(
            type="Views",
            views=[
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
    ],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=128,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="val"),
    pipeline=[dict(type="Resize", size=256), dict(type="CenterCrop", size=224)],
)
