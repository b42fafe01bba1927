"""DeiT-S (arXiv:2012.12877) on ImageNet by DeiT's recipe without its distillation, 300 epochs: SMMix and MixUp.

OpenMixup's policy; its docs have no figure for this network. The authors train with two further terms of the loss.
1024 images a step: run it on 8 processes. Left out: repeated augmentation, which DeiT's own code has for this size as
well; erased pixels get the mean colour. openmix has not run it yet, so it claims no figure.
"""

_base_ = "../basic/deit_small_deit.py"
model = dict(mix_mode=["smmix", "mixup"], alpha=[None, 1.0], mix_prob=[0.8, 0.2])
