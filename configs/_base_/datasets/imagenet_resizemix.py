# ImageNet as ResizeMix trains it, 64 images on each of 8 GPUs. Its DALI pipeline scaled by a triangular filter down
# and Lanczos up; torchvision's antialiased bilinear filter is the former.
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=64,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="train"),
    pipeline=[dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=64,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="val"),
    pipeline=[dict(type="Resize", size=256), dict(type="CenterCrop", size=224)],
)
