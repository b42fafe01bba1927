"""A linear probe of the ResNet-50 that r50_imagenet_moco_cropmix.py pre-trains, 90 epochs: asym-siam's, as CropMix's.

Published top-1: 67.8; of the trunk without CropMix 65.8 (CropMix's table 3, read off its image; no seeds, the best
epoch). The classifier alone learns, on crops and flips, 4096 images a step (512 on each of 8 GPUs); the trunk is frozen
in evaluation mode. LARS is that of apex: trust 0.001, not clipped, and adapting although nothing decays. For another
checkpoint: --cfg-options load_from=FILE. openmix has not run it yet, so it claims no figure.
"""

_base_ = "../../_base_/runtime.py"
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(
    type="TorchLoader",
    batch_size=512,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="train"),
    pipeline=[dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip")],
)
val_dataloader = dict(
    type="TorchLoader",
    batch_size=128,
    num_workers=8,
    dataset=dict(type="ImageNet", data_root="data/imagenet", split="val"),
    pipeline=[dict(type="Resize", size=256), dict(type="CenterCrop", size=224)],
)
model = dict(type="LinearProbe", backbone=dict(type="ResNet", depth=50), head=dict(type="ClsHead", num_classes=1000))
load_from = "work_dirs/r50_imagenet_moco_cropmix/checkpoints/last.pth"
optim_wrapper = dict(
    optimizer=dict(type="Lars", lr=1.6, momentum=0.9, weight_decay=0.0, trust_coeff=0.001, always_adapt=True)
)
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True)
train_cfg = dict(max_epochs=90)
