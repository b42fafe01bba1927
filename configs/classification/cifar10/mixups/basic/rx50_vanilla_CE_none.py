"""ResNeXt-50 (32x4d) on CIFAR-10 with no mixing, a row of OpenMixup's CIFAR-10 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 95.92, 95.81, 96.23, 96.26
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_mixups_CE_none.py"
model = dict(mix_mode="vanilla")
