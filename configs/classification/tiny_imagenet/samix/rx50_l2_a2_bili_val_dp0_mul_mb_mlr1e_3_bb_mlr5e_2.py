"""ResNeXt-50 (32x4d) for small images on Tiny-ImageNet with SAMix, 400 epochs.

Published top-1: 72.18 (OpenMixup's docs: median of the last 10 epochs, by its script of the best of four heads; no
seeds, no spread). This is the paper's objective. In its authors' code the mix block's loss is plain cross entropy, the
mask loss holds the batch's mean, and a norm cancels lambda: that is model.preset='openmixup' and
model.mix_block.lam_before_norm=True. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/tiny_imagenet.py",
    "../../../_base_/models/samix.py",
    "../../../_base_/schedules/automix_tiny_imagenet.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="ResNeXt_CIFAR", depth=50),
    head=dict(num_classes=200),
    mix_block=dict(lam_mul_k=-1.0),
)
