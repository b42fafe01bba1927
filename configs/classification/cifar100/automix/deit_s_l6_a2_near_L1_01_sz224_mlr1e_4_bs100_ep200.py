"""DeiT-S (arXiv:2012.12877) on CIFAR-100, enlarged to 224 pixels, with AutoMix, 200 epochs.

Published top-1 for 200, 600 epochs: 76.24, 80.91 (OpenMixup's docs: best of the last 10 epochs; no seeds, no spread).
The mask loss holds each mask to lambda, in its authors' code the batch's mean (model.preset='openmixup'). Masks are
made of the maps of the sixth of its twelve blocks. RandAugment is timm's, theirs has FixMatch's operations. openmix has
not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_vit.py",
    "../../../_base_/models/automix.py",
    "../../../_base_/schedules/automix_cifar_vit.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="TimmBackbone", name="deit_small_patch16_224", drop_path_rate=0.1),
    head=dict(num_classes=100, label_smoothing=0.1),
    mix_block=dict(lam_concat=True),
    mask_layer=1,
    mask_loss_end=0.0,
    momentum_end=0.99996,
    momentum_start=0.25,
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "mix_block": dict(lr_mult=2.0),
            "mix_block.query.bias": dict(lr_mult=2.0, decay_mult=0.0),
            "mix_block.value.bias": dict(lr_mult=2.0, decay_mult=0.0),
        }
    )
)
