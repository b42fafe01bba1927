"""ResNet-50 on ImageNet in PyTorch's manner with AutoMix, 100 epochs; lambda is a channel of the features.

Published top-1: 77.91 (OpenMixup's docs: median of the last 5 epochs, by its script of the best of four heads; no
seeds, no spread). The mask loss holds each mask to lambda, in its authors' code the batch's mean
(model.preset='openmixup'). 256 images a step: run it on 4 processes. openmix has not run it, so it claims no figure of
its own.
"""

_base_ = [
    "../../../_base_/datasets/imagenet_openmixup.py",
    "../../../_base_/models/automix.py",
    "../../../_base_/schedules/automix_imagenet_100e.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="ResNet", depth=50, zero_init_residual=True),
    head=dict(num_classes=1000),
    mix_block=dict(lam_concat=True),
    mask_loss_end=0.0,
    momentum_end=0.99999,
)
