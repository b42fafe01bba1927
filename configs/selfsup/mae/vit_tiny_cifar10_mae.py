"""ViT-Tiny with patches of 2 pixels on CIFAR-10 as a masked autoencoder, 2000 epochs: IcarusWizard/MAE's recipe.

Published top-1 after vit_tiny_cifar10_finetune.py: 89.77, and 74.13 from scratch (its README). 4096 images a step, no
augmentation, 200 epochs of warm-up. Here positions are fixed ones, as MAE's, and the images have CIFAR-10's mean and
std. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../_base_/datasets/cifar10_mae.py",
    "../../_base_/models/vit_tiny_mae.py",
    "../../_base_/schedules/mae.py",
    "../../_base_/runtime_selfsup.py",
]
train_dataloader = dict(batch_size=4096, pipeline=[])
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, end=200, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=200, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=2000, val_interval=50)
