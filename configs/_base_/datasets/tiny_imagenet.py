# Tiny-ImageNet as OpenMixup trains it: batches of 100, random crops resized to 64 pixels, flips, and the images as they
# are to validate; ImageNet's statistics (interpolation=3 is bicubic).
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=100,
    num_workers=4,
    dataset=dict(type="TinyImageNet", data_root="data/tiny-imagenet-200", split="train"),
    pipeline=[dict(type="RandomResizedCrop", size=64, interpolation=3), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=100,
    num_workers=4,
    dataset=dict(type="TinyImageNet", data_root="data/tiny-imagenet-200", split="val"),
)
