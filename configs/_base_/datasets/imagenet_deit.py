# DeiT's augmentation, 128 images on each of 8 GPUs (interpolation=3 is bicubic). Erased pixels get the mean colour,
# where timm draws normal noise.
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=128,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="train"),
    pipeline=[
        dict(type="RandomResizedCrop", size=224, interpolation=3),
        dict(type="RandomHorizontalFlip"),
        dict(type="TimmAutoAugment", policy="rand-m9-mstd0.5-inc1"),
        dict(type="RandomErasing", p=0.25, value=[124, 116, 104]),
    ],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=128,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="val"),
    pipeline=[dict(type="Resize", size=256, interpolation=3), dict(type="CenterCrop", size=224)],
)
