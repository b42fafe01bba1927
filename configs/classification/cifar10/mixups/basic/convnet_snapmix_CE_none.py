"""A small network on CIFAR-10 with SnapMix (alpha 1), guided by its own class activation maps.

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./convnet_mixups_CE_none.py"
model = dict(mix_mode="snapmix", alpha=1.0)
