"""ResNet-18 on CIFAR-10 with CutMix (alpha 0.2), a row of OpenMixup's CIFAR-10 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 96.11, 96.13, 96.68, 96.56
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="cutmix", alpha=0.2)
