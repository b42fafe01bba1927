"""ResNet-18 on CIFAR-10 with no mixing, a row of OpenMixup's CIFAR-10 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 94.87, 95.10, 95.50, 95.59
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="vanilla")
