# CIFAR-100 as R-Mix trains it: batches of 100, flips, then crops of 2 pixels' padding; CIFAR-100's own statistics.
data_preprocessor = dict(mean=[129.3 / 255, 124.1 / 255, 112.4 / 255], std=[68.2 / 255, 65.4 / 255, 70.4 / 255])
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=100,
    dataset=dict(type="CIFAR100", data_root="data/cifar100", split="train"),
    pipeline=[dict(type="RandomHorizontalFlip"), dict(type="RandomCrop", size=32, padding=2)],
)
val_dataloader = dict(
    type="ResidentLoader", batch_size=500, dataset=dict(type="CIFAR100", data_root="data/cifar100", split="test")
)
