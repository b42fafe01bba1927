"""ResNeXt-50 (32x4d) on CIFAR-10 with Manifold Mixup (alpha 2), a row of OpenMixup's CIFAR-10 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 96.97, 97.39, 97.33, 97.36
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_mixups_CE_none.py"
model = dict(mix_mode="manifoldmix", alpha=2.0)
