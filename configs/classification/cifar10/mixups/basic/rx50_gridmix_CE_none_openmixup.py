"""ResNeXt-50 (32x4d) on CIFAR-10 with GridMix (alpha 0.2) as OpenMixup runs it: crops that exceed the image wrap
around.

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 97.18, 97.30, 96.40, 95.79
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_gridmix_CE_none.py"
model = dict(mix_args=dict(gridmix=dict(preset="openmixup")))
