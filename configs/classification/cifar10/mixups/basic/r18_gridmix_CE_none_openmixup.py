"""ResNet-18 on CIFAR-10 with GridMix as OpenMixup runs it: crops that exceed the image wrap around.

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 95.89, 96.33, 96.56, 96.58
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_gridmix_CE_none.py"
model = dict(mix_args=dict(gridmix=dict(preset="openmixup")))
