# CIFAR-100 as OpenMixup shows it to transformers: batches of 100 enlarged to 224 pixels, flips, RandAugment; CIFAR-10's
# statistics (interpolation=3 is bicubic). RandAugment is timm's; theirs has FixMatch's operations.
data_preprocessor = dict(mean=[0.4914, 0.4822, 0.4465], std=[0.2023, 0.1994, 0.2010])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=100,
    num_workers=4,
    dataset=dict(type="CIFAR100", data_root="data/cifar100", split="train"),
    pipeline=[
        dict(type="RandomResizedCrop", size=224, scale=[0.8, 1.0], interpolation=3),
        dict(type="RandomHorizontalFlip"),
        dict(type="TimmAutoAugment", policy="rand-m7-mstd0.5-inc1", mean=[0.4914, 0.4822, 0.4465]),
    ],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=100,
    num_workers=4,
    dataset=dict(type="CIFAR100", data_root="data/cifar100", split="test"),
    pipeline=[dict(type="Resize", size=224, interpolation=3)],
)
