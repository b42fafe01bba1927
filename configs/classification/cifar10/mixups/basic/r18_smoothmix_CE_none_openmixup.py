"""ResNet-18 on CIFAR-10 with SmoothMix as OpenMixup runs it: its own label weighs what is visible of the partner.

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 95.29, 95.88, 96.17, 96.17
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread; its alpha of 0.5 has no effect).
openmix has not run it yet, so it claims no figure.
"""

_base_ = "./r18_smoothmix_CE_none.py"
model = dict(mix_args=dict(smoothmix=dict(preset="openmixup")))
