"""The small vision transformer of vit_micro_cifar10_mae.py on CIFAR-10 from scratch, 3 epochs on a CPU.

vit_micro_cifar10_finetune.py without its pre-training, all else equal but for the layers' rates, which are all one.
Expect what docs/selfsup.md says; nobody has published a figure for this network.
"""

_base_ = [
    "../../_base_/datasets/cifar10.py",
    "../../_base_/models/vit_micro_finetune.py",
    "../../_base_/schedules/mae_finetune.py",
    "../../_base_/runtime_selfsup.py",
]
optim_wrapper = dict(optimizer=dict(lr=1e-3), paramwise_cfg=dict(layer_decay=1.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=1, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=3)
