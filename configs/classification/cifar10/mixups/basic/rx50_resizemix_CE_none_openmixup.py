"""ResNeXt-50 (32x4d) on CIFAR-10 with ResizeMix as OpenMixup runs it: one box a batch, cut off at the border, tau ~
Beta(1, 1).

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 97.02, 97.38, 97.21, 97.36
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_resizemix_CE_none.py"
model = dict(alpha=1.0, mix_args=dict(resizemix=dict(preset="openmixup", use_alpha=True)))
