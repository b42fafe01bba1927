# CIFAR-100 as ResizeMix trains it: 256 images a step over all GPUs, crops of 4 pixels' padding, flips (CIFAR-10's
# statistics, as its code has them).
data_preprocessor = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010])
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=256,
    dataset=dict(type="CIFAR100", data_root="data/cifar100", split="train"),
    pipeline=[dict(type="RandomCrop", size=32, padding=4), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="ResidentLoader", batch_size=500, dataset=dict(type="CIFAR100", data_root="data/cifar100", split="test")
)
