"""DeiT-S (arXiv:2012.12877) on ImageNet by DeiT's recipe without its distillation, 300 epochs: MixPro and MixUp.

OpenMixup's policy and cells of 4x4 patches; its docs have no figure. In the authors' code DeiT-S has patches of 14
pixels and cells of 56, and MixPro takes turns with MixUp and CutMix.
1024 images a step: run it on 8 processes. Left out: repeated augmentation, which DeiT's own code has for this size as
well; erased pixels get the mean colour. openmix has not run it yet, so it claims no figure.
"""

_base_ = "../basic/deit_small_deit.py"
model = dict(
    mix_mode=["mixpro", "mixup"], alpha=[1.0, 1.0], mix_prob=[0.8, 0.2], mix_args=dict(mixpro=dict(mask_patch_size=64))
)
