"""A small network on CIFAR-10 by SimSiam, 2 epochs on a CPU, crops of 0.2 to 1 of the area.

Projector and predictor are those of r18_cifar10_simsiam.py, smaller. Expect what docs/selfsup.md says; nobody has
published a figure for this network.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views.py",
    "../../_base_/models/convnet_simsiam.py",
    "../../_base_/schedules/selfsup_convnet.py",
    "../../_base_/runtime_selfsup.py",
]
