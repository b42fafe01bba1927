"""ResNeXt-50 (32x4d) on CIFAR-10 with AdAutoMix, 400 epochs.

Neither OpenMixup's docs nor its authors' README print a figure for it. Its authors have no config for CIFAR-10: this is
theirs for CIFAR-100, but for crops padded with zeros. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar10.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/automix_cifar.py",
    "../../../_base_/runtime.py",
]
model = dict(backbone=dict(type="ResNeXt_CIFAR", depth=50), head=dict(num_classes=10))
