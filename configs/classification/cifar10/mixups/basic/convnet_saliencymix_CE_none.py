"""A small network on CIFAR-10 with SaliencyMix (alpha 0.2).

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./convnet_mixups_CE_none.py"
model = dict(mix_mode="saliencymix", alpha=0.2)
