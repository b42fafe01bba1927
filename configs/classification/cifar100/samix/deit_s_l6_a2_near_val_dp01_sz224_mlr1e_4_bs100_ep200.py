"""DeiT-S (arXiv:2012.12877) on CIFAR-100, enlarged to 224 pixels, with SAMix, 200 epochs.

Published top-1 for 200, 600 epochs: 77.94, 82.49 (OpenMixup's docs: best of the last 10 epochs; no seeds, no spread).
This is its authors' config and code (preset='openmixup'): the mix block learns by plain cross entropy, the mask loss
holds the batch's mean, and a norm cancels lambda. Masks are made of the maps of the sixth of its twelve blocks.
RandAugment is timm's, theirs has FixMatch's operations. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_vit.py",
    "../../../_base_/models/samix.py",
    "../../../_base_/schedules/automix_cifar_vit.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="TimmBackbone", name="deit_small_patch16_224", drop_path_rate=0.1),
    head=dict(num_classes=100, label_smoothing=0.1),
    mix_block=dict(lam_mul_k=-1.0, lam_before_norm=True, value_dropout=0.1, upsampling="nearest"),
    mask_layer=1,
    mask_loss_end=0.0,
    momentum_end=0.99996,
    momentum_start=0.25,
    preset="openmixup",
)
optim_wrapper = dict(optimizer=dict(lr=7.5e-4), clip_grad=dict(max_norm=20.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, end=20, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-4, begin=20, convert_to_iter_based=True),
]
