"""PreActResNet-18 on CIFAR-100 with R-Mix (alpha 1, 2 or 4 patches a side) under its one-cycle recipe, 300 epochs.

Published top-1: 81.45 (R-Mix's README, last checkpoint). No seeds, no spread. openmix has not run it yet, so it
claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/models/preactresnet18_mixups.py",
    "../../../_base_/schedules/rmix_onecycle.py",
    "../../../_base_/runtime.py",
]
model = dict(head=dict(num_classes=100), mix_mode="rmix")
