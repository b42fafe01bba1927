"""A small vision transformer on CIFAR-10 as a masked autoencoder, 6 epochs on a CPU.

MAE's recipe (arXiv:2111.06377) with patches of 4 pixels and 256 images a step. Expect what docs/selfsup.md says; nobody
has published a figure for this network. Judge it by vit_micro_cifar10_finetune.py beside vit_micro_cifar10_scratch.py:
what a linear probe says of masked autoencoders of this size is little.
"""

_base_ = [
    "../../_base_/datasets/cifar10_mae.py",
    "../../_base_/models/vit_micro_mae.py",
    "../../_base_/schedules/mae.py",
    "../../_base_/runtime_selfsup.py",
]
optim_wrapper = dict(optimizer=dict(lr=1.5e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=1, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=6, val_interval=3)
