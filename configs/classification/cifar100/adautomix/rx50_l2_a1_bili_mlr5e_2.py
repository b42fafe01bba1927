"""ResNeXt-50 (32x4d) on CIFAR-100 with AdAutoMix, 400 epochs.

Published top-1: 84.22 (its authors' own README, which states no epochs, statistic, seeds or spread, and quotes
AutoMix's figure of 800 epochs beside it). The code that it is of replaces nearly all masks that the student sees by
constants, as model.preset='openmixup' does; here they are used. openmix has not run it, so it claims no figure of its
own.
"""

_base_ = [
    "../../../_base_/datasets/cifar100.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/automix_cifar.py",
    "../../../_base_/runtime.py",
]
model = dict(backbone=dict(type="ResNeXt_CIFAR", depth=50), head=dict(num_classes=100))
