"""ResNet-18 for small images on Tiny-ImageNet with AdAutoMix, 400 epochs.

Published top-1: 69.19 (its authors' own README, which states no epochs, statistic, seeds or spread). The code that it
is of replaces nearly all masks that the student sees by constants, as model.preset='openmixup' does; here they are
used. As in its authors' config, both rates fall to 0, the student's from 0.2, the mask network's from 0.1; for
ResNeXt-50 they have those of AutoMix. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/tiny_imagenet.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/automix_tiny_imagenet.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="ResNet_CIFAR", depth=18),
    head=dict(num_classes=200),
    beta=0.4,
)
param_scheduler = dict(_delete_=True, type="CosineAnnealingLR", eta_min=0.0)
