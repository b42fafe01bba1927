"""ResNet-18 on CIFAR-10 with FMix (alpha 0.2), a row of OpenMixup's CIFAR-10 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 96.17, 96.53, 96.18, 96.01
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="fmix", alpha=0.2)
