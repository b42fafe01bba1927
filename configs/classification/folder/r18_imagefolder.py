"""ResNet-18 on images of your own, one folder a class: data/folder/train/CLASS/*.jpg and data/folder/val/CLASS/*.jpg.

Set data_root (twice) and num_classes (three times) below; openmix data verify data/folder looks for damaged images.
128 images a step on one process, mixup or cutmix drawn for each batch: a start for some ten thousand photographs,
measured on none, so it claims no figure.
"""

_base_ = [
    "../../_base_/models/r18_mixups.py",
    "../../_base_/schedules/sgd_cosine.py",
    "../../_base_/runtime.py",
]
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=128,
    num_workers=8,
    dataset=dict(type="ImageFolder", data_root="data/folder", split="train", num_classes=10),
    pipeline=[dict(type="RandomResizedCrop", size=224, interpolation=3), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=128,
    num_workers=8,
    dataset=dict(type="ImageFolder", data_root="data/folder", split="val", num_classes=10),
    pipeline=[dict(type="Resize", size=256, interpolation=3), dict(type="CenterCrop", size=224)],
)
model = dict(
    backbone=dict(_delete_=True, type="ResNet", depth=18),
    head=dict(num_classes=10),
    mix_mode=["mixup", "cutmix"],
    alpha=[0.2, 1.0],
    mix_prob=[0.5, 0.5],
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
train_cfg = dict(max_epochs=100)
