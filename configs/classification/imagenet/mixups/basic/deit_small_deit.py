"""DeiT-S (arXiv:2012.12877) on ImageNet by DeiT's recipe without its distillation, 300 epochs: MixUp and CutMix.

Published top-1: 79.8 in the paper, 79.80 in OpenMixup's docs (median of the last 10 epochs). 1024 images a step: run
it on 8 processes. Left out: repeated augmentation, which DeiT's own code has for this size as well; erased pixels get
the mean colour. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../../_base_/datasets/imagenet_deit.py",
    "../../../../_base_/models/deit_small_mixups.py",
    "../../../../_base_/schedules/deit_300e.py",
    "../../../../_base_/runtime.py",
]
model = dict(mix_mode=["mixup", "cutmix"], alpha=[0.8, 1.0], mix_prob=[0.5, 0.5])
