"""ResNet-50 on ImageNet in PyTorch's manner with AdAutoMix of two images, 100 epochs.

Published top-1: 78.04 (AdAutoMix's README in OpenMixup, which states no statistic, seeds or spread). Their config has a
BatchNorm behind the mask network's queries and keys, which is not here. Of two images there is no blend: the student's
other loss is of clean images alone. 256 images a step: run it on 4 processes. openmix has not run it, so it claims no
figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/imagenet_openmixup.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/automix_imagenet_100e.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="ResNet", depth=50, zero_init_residual=True),
    head=dict(num_classes=1000),
    mix_block=dict(lam_concat=True),
    mix_samples=2,
    beta=0.1,
    momentum_end=0.99999,
)
