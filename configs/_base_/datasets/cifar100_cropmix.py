# CIFAR-100 as CropMix trains it: batches of 100, crops of 4 pixels' padding, flips; CIFAR-10's statistics.
data_preprocessor = dict(mean=[125.3 / 255, 123.0 / 255, 113.9 / 255], std=[63.0 / 255, 62.1 / 255, 66.7 / 255])
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=100,
    dataset=dict(type="CIFAR100", data_root="data/cifar100", split="train"),
    pipeline=[dict(type="RandomCrop", size=32, padding=4), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="ResidentLoader", batch_size=500, dataset=dict(type="CIFAR100", data_root="data/cifar100", split="test")
)
