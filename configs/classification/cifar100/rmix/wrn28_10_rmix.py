"""WRN-28-10 on CIFAR-100 with R-Mix (alpha 1, 2 or 4 patches a side) under its one-cycle recipe, 300 epochs.

Published top-1: 84.95 (R-Mix's README, last checkpoint); 85.0 in public listings of its paper. No seeds, no spread.
openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/models/wrn28_10_mixups.py",
    "../../../_base_/schedules/rmix_onecycle.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(variant="rmix"),
    head=dict(num_classes=100),
    mix_mode="rmix",
)
