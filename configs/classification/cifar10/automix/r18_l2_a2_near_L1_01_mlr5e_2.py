"""ResNet-18 on CIFAR-10 with AutoMix, 400 epochs.

Published top-1 for 200, 400, 800, 1200 epochs: 96.59, 97.08, 97.34, 97.30 (OpenMixup's docs: median of the last 10
epochs, by its script of the best of four heads; no seeds, no spread). Masks do not depend on lambda (lam_concat=False),
as in its authors' configs for small images. The mask loss holds each mask to lambda, in their code the batch's mean
(model.preset='openmixup'). Its authors have no config for CIFAR-10: this is theirs for CIFAR-100, but for crops padded
with zeros. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar10.py",
    "../../../_base_/models/automix.py",
    "../../../_base_/schedules/automix_cifar.py",
    "../../../_base_/runtime.py",
]
model = dict(backbone=dict(type="ResNet_CIFAR", depth=18), head=dict(num_classes=10))
