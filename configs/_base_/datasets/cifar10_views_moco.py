# CIFAR-10 as two views of each image as MoCo's CIFAR demo has it, batches of 512: crops of 0.08 to 1 of the area,
# flips, colours, no blur. Each validation has, beside the online probe's accuracy, that of kNN on the trunk's features.
data_preprocessor = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010])
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=512,
    dataset=dict(type="CIFAR10", data_root="data/cifar10", split="train"),
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
            ],
        )
    ],
)
val_dataloader = dict(
    type="ResidentLoader", batch_size=500, dataset=dict(type="CIFAR10", data_root="data/cifar10", split="test")
)
val_cfg = dict(knn=dict(k=200, temperature=0.1, features="backbone"))
