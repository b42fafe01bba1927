"""ResNet-18 on CIFAR-10 with SaliencyMix as OpenMixup runs it: boxes about pixels that are as good as random.

Kept to reproduce its published top-1 for 200, 400, 800, 1200 epochs: 96.05, 96.42, 96.20, 96.18
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_saliencymix_CE_none.py"
model = dict(mix_args=dict(saliencymix=dict(preset="openmixup")))
