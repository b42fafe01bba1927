"""ResNeXt-50 (32x4d) on CIFAR-10 with SmoothMix as OpenMixup runs it: its own label weighs what is visible of the
partner.

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 95.87, 96.37, 96.49, 96.77
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_smoothmix_CE_none.py"
model = dict(mix_args=dict(smoothmix=dict(preset="openmixup")))
