"""DeiT-S (arXiv:2012.12877) on ImageNet by DeiT's recipe without its distillation, 300 epochs: TokenMix and MixUp.

Published top-1: 80.80 in OpenMixup's docs, from the authors' code, whose maps are class scores of a stronger network.
Here the network's own attention takes their place, as in OpenMixup's code, and so does its policy; alpha=[None, 1.0]
is the authors' lam of 0.5.
1024 images a step: run it on 8 processes. Left out: repeated augmentation, which DeiT's own code has for this size as
well; erased pixels get the mean colour. openmix has not run it yet, so it claims no figure.
"""

_base_ = "../basic/deit_small_deit.py"
model = dict(mix_mode=["tokenmix", "mixup"], alpha=[1.0, 1.0], mix_prob=[0.9, 0.1])
