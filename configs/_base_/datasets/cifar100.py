# CIFAR-100 as OpenMixup trains it: batches of 100, crops of 4 pixels' padding by reflection, flips; CIFAR-10's
# statistics.
data_preprocessor = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010])
train_dataloader = dict(
    type="ResidentLoader",
    batch_size=100,
    dataset=dict(type="CIFAR100", data_root="data/cifar100", split="train"),
    pipeline=[dict(type="RandomCrop", size=32, padding=4, padding_mode="reflect"), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="ResidentLoader", batch_size=500, dataset=dict(type="CIFAR100", data_root="data/cifar100", split="test")
)
