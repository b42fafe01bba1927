"""A small network on CIFAR-10 by SimCLR, 2 epochs on a CPU, crops of 0.2 to 1 of the area.

Temperature 0.5, as SimCLR's paper has for CIFAR-10. Expect what docs/selfsup.md says; nobody has published a figure for
this network.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views.py",
    "../../_base_/models/convnet_simclr.py",
    "../../_base_/schedules/selfsup_convnet.py",
    "../../_base_/runtime_selfsup.py",
]
