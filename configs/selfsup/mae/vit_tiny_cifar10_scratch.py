"""ViT-Tiny with patches of 2 pixels on CIFAR-10 from scratch, 100 epochs: IcarusWizard/MAE's baseline.

Published top-1: 74.13 (its README). 128 images a step, a rate of 1e-3 for 256 of them, no augmentation. openmix has not
run it yet, so it claims no figure.
"""

_base_ = [
    "../../_base_/datasets/cifar10.py",
    "../../_base_/models/vit_micro_finetune.py",
    "../../_base_/schedules/mae_finetune.py",
    "../../_base_/runtime_selfsup.py",
]
train_dataloader = dict(batch_size=128, pipeline=[])
model = dict(backbone=dict(model_args=dict(_delete_=True, patch_size=2)))
optim_wrapper = dict(optimizer=dict(lr=5e-4), paramwise_cfg=dict(layer_decay=1.0))
