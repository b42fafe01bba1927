# CIFAR-10 as one view of each image for masked autoencoding: MAE's crops for ImageNet, 0.2 to 1 of the area, and flips.
# Each validation has, beside the online probe's accuracy, that of kNN on the trunk's features.
data_preprocessor = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010])
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=256,
    dataset=dict(type="CIFAR10", data_root="data/cifar10", split="train"),
    pipeline=[dict(type="RandomResizedCrop", size=32, scale=[0.2, 1.0]), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="ResidentLoader", batch_size=500, dataset=dict(type="CIFAR10", data_root="data/cifar10", split="test")
)
val_cfg = dict(knn=dict(k=200, temperature=0.1, features="backbone"))
