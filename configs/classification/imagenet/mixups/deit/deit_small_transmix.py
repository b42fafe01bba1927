"""DeiT-S (arXiv:2012.12877) on ImageNet by DeiT's recipe without its distillation, 300 epochs: TransMix and MixUp.

Published top-1: 80.68 in OpenMixup's docs (mean of the best three epochs), whose head averages the images' own label
weights over the batch.
1024 images a step: run it on 8 processes. Left out: repeated augmentation, which DeiT's own code has for this size as
well; erased pixels get the mean colour. openmix has not run it yet, so it claims no figure.
"""

_base_ = "../basic/deit_small_deit.py"
model = dict(mix_mode=["mixup", "transmix"], alpha=[0.8, 1.0], mix_prob=[0.2, 0.8])
