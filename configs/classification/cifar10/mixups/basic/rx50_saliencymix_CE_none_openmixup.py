"""ResNeXt-50 (32x4d) on CIFAR-10 with SaliencyMix as OpenMixup runs it: boxes about pixels that are as good as random.

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 96.65, 96.89, 96.70, 96.60
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_saliencymix_CE_none.py"
model = dict(mix_args=dict(saliencymix=dict(preset="openmixup")))
