"""ResNet-18 for small images on Tiny-ImageNet with AutoMix, 400 epochs.

Published top-1: 67.33 (OpenMixup's docs: median of the last 10 epochs, by its script of the best of four heads; no
seeds, no spread). Masks do not depend on lambda (lam_concat=False), as in its authors' configs for small images. The
mask loss holds each mask to lambda, in their code the batch's mean (model.preset='openmixup'). openmix has not run it,
so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/tiny_imagenet.py",
    "../../../_base_/models/automix.py",
    "../../../_base_/schedules/automix_tiny_imagenet.py",
    "../../../_base_/runtime.py",
]
model = dict(backbone=dict(type="ResNet_CIFAR", depth=18), head=dict(num_classes=200))
