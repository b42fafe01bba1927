"""DeiT-S (arXiv:2012.12877) on ImageNet by DeiT's recipe without its distillation, 300 epochs, with AutoMix.

Published top-1: 80.78 (OpenMixup's docs: mean of the best three epochs; no seeds, no spread). Masks are made of the
maps of the sixth of its twelve blocks, and a fifth of the steps trains the mix block by the mask loss alone
(k_prob=0.8, the authors' switch_off). The classifier of clean images learns from MixUp and CutMix. The mask loss holds
each mask to lambda, in its authors' code the batch's mean (model.preset='openmixup'). 1024 images a step: run it on 8
processes. Left out: repeated augmentation, which DeiT's own code has for this size as well; erased pixels get the mean
colour. openmix has not run it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/imagenet_deit.py",
    "../../../_base_/models/automix.py",
    "../../../_base_/schedules/automix_deit_300e.py",
    "../../../_base_/runtime.py",
]
model = dict(
    backbone=dict(type="TimmBackbone", name="deit_small_patch16_224", drop_path_rate=0.1),
    head=dict(num_classes=1000, label_smoothing=0.1),
    mix_block=dict(lam_concat=True),
    head_one_mix=True,
    mask_layer=1,
    mask_loss_end=0.0,
    k_prob=0.8,
    momentum_end=0.99999,
    momentum_start=0.25,
)
