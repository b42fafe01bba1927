"""A small network on CIFAR-10 with SaliencyMix as OpenMixup runs it: boxes about pixels that are as good as random.

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./convnet_saliencymix_CE_none.py"
model = dict(mix_args=dict(saliencymix=dict(preset="openmixup")))
