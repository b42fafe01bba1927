"""ResNeXt-50 (32x4d) on CIFAR-10 with CutMix (alpha 0.2), a row of OpenMixup's CIFAR-10 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 96.78, 96.54, 96.60, 96.35
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_mixups_CE_none.py"
model = dict(mix_mode="cutmix", alpha=0.2)
