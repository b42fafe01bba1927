"""ResNeXt-50 (32x4d) for small images on Tiny-ImageNet with AdAutoMix, 400 epochs.

Published top-1: 72.89 (its authors' own README, which states no epochs, statistic, seeds or spread). The code that it
is of replaces nearly all masks that the student sees by constants, as model.preset='openmixup' does; here they are
used. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/tiny_imagenet.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/automix_tiny_imagenet.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="ResNeXt_CIFAR", depth=50),
    head=dict(num_classes=200),
    beta=0.4,
)
