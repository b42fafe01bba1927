"""ResNeXt-50 (32x4d) on CIFAR-100 with AutoMix, 400 epochs.

Published top-1 for 200, 400, 800, 1200 epochs: 82.84, 83.32, 83.64, 83.80 (OpenMixup's docs: median of the last 10
epochs, by its script of the best of four heads; no seeds, no spread). Masks do not depend on lambda (lam_concat=False),
as in its authors' configs for small images. The mask loss holds each mask to lambda, in their code the batch's mean
(model.preset='openmixup'). openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar100.py",
    "../../../_base_/models/automix.py",
    "../../../_base_/schedules/automix_cifar.py",
    "../../../_base_/runtime.py",
]
model = dict(backbone=dict(type="ResNeXt_CIFAR", depth=50), head=dict(num_classes=100))
