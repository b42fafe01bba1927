"""A small network on CIFAR-10 by MoCo v2, 2 epochs on a CPU, crops of 0.2 to 1 of the area.

Queue, momentum, temperature and split BatchNorm are those of MoCo's CIFAR demo; the projector has a hidden layer, as
MoCo v2's. Expect what docs/selfsup.md says; nobody has published a figure for this network.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views.py",
    "../../_base_/models/convnet_moco.py",
    "../../_base_/schedules/selfsup_convnet.py",
    "../../_base_/runtime_selfsup.py",
]
