"""DeiT-S (arXiv:2012.12877) on CIFAR-100, enlarged to 224 pixels, with AdAutoMix, 200 epochs.

Neither OpenMixup's docs nor its authors' README print a figure for it. Their config also has switch_off=0.8, by which
the mask network is not trained in a part of the steps; here it is in all of them. Masks are made of the maps of the
sixth of its twelve blocks. RandAugment is timm's, theirs has FixMatch's operations. openmix has not run it, so it
claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_vit.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/automix_cifar_vit.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="TimmBackbone", name="deit_small_patch16_224", drop_path_rate=0.1),
    head=dict(num_classes=100, label_smoothing=0.1),
    mix_block=dict(lam_concat=True, upsampling="nearest"),
    mask_layer=1,
    momentum_end=0.99996,
    momentum_start=0.25,
)
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={
            "mix_block": dict(lr_mult=2.0),
            "mix_block.query.bias": dict(lr_mult=2.0, decay_mult=0.0),
            "mix_block.key.bias": dict(lr_mult=2.0, decay_mult=0.0),
            "mix_block.value.bias": dict(lr_mult=2.0, decay_mult=0.0),
        }
    )
)
