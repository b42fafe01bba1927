"""A small vision transformer on CIFAR-10, for a first look on a CPU at the methods that read attention; here MixUp.

Nobody has published a figure for this network, and three epochs are far from what a transformer needs: expect less
than from the small convolutional network beside it.
"""

_base_ = [
    "../../../../_base_/datasets/cifar10.py",
    "../../../../_base_/models/vit_micro_mixups.py",
    "../../../../_base_/runtime.py",
]
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=5.0))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True, convert_to_iter_based=True)
train_cfg = dict(max_epochs=3)
