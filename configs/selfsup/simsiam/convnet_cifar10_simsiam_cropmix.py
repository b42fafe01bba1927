"""A small network on CIFAR-10 by SimSiam with CropMix on the view that predicts, 2 epochs on a CPU.

A plain view is predicted from a mixed one and never the other way round, so that the step has half of the terms of the
symmetric one; to see what CropMix does, compare with convnet_cifar10_simsiam.py and model.symmetric=False. Expect what
docs/selfsup.md says; for CIFAR nobody has published a figure.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views_cropmix.py",
    "../../_base_/models/convnet_simsiam.py",
    "../../_base_/schedules/selfsup_convnet.py",
    "../../_base_/runtime_selfsup.py",
]
model = dict(symmetric=False)
