# ImageNet as one view of each image as MAE has it: crops of 0.2 to 1 of the area and flips, 64 images on each of 8 GPUs
# (interpolation=3 is bicubic). No kNN: its bank would be 1.28 million features.
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=64,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="train"),
    pipeline=[
        dict(type="RandomResizedCrop", size=224, scale=[0.2, 1.0], interpolation=3),
        dict(type="RandomHorizontalFlip"),
    ],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=64,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="val"),
    pipeline=[dict(type="Resize", size=256, interpolation=3), dict(type="CenterCrop", size=224)],
)
