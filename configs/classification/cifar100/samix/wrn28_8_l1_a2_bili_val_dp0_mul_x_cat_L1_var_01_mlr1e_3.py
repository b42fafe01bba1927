"""WRN-28-8 on CIFAR-100 with SAMix, 400 epochs.

Published top-1 for 400 epochs: 85.50 (OpenMixup's docs: median of the last 10 epochs, by its script of the best of four
heads; no seeds, no spread). This is the paper's objective. In its authors' code the mix block's loss is plain cross
entropy, the mask loss holds the batch's mean, and a norm cancels lambda: that is model.preset='openmixup' and
model.mix_block.lam_before_norm=True. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar100.py",
    "../../../_base_/models/samix.py",
    "../../../_base_/schedules/automix_wrn.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="WideResNet", depth=28, widen_factor=8, variant="openmixup"),
    head=dict(num_classes=100),
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(mix_block=dict(momentum=0.0))))  # as its authors
