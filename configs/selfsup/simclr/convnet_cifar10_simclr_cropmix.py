"""A small network on CIFAR-10 by SimCLR with CropMix on one of the two views, 2 epochs on a CPU.

The loss has no direction: the mixed view and the plain one are each other's positive. CropMix's authors have it for
MoCo alone. Expect what docs/selfsup.md says; nobody has published a figure for it.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views_cropmix.py",
    "../../_base_/models/convnet_simclr.py",
    "../../_base_/schedules/selfsup_convnet.py",
    "../../_base_/runtime_selfsup.py",
]
