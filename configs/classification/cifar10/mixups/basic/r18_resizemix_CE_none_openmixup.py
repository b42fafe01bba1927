"""ResNet-18 on CIFAR-10 with ResizeMix as OpenMixup runs it: one box a batch, cut off at the border, tau ~ Beta(1, 1).

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 96.16, 96.91, 96.76, 97.04
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_resizemix_CE_none.py"
model = dict(alpha=1.0, mix_args=dict(resizemix=dict(preset="openmixup", use_alpha=True)))
