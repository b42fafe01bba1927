"""A small network on CIFAR-10 by MoCo v2 with CropMix on the query view, 2 epochs on a CPU.

A crop of 0.2 to 0.6 of the area, with a CutMix box of one of 0.6 to 1 in it, each with flips and colours of its own, as
the authors have it for ImageNet; the key is one plain view. To ScaleMix the crops' areas are the whole difference.
Expect what docs/selfsup.md says; for CIFAR nobody has published a figure.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views_cropmix.py",
    "../../_base_/models/convnet_moco.py",
    "../../_base_/schedules/selfsup_convnet.py",
    "../../_base_/runtime_selfsup.py",
]
