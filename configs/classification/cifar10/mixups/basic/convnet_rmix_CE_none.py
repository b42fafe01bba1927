"""A small network on CIFAR-10 with R-Mix (alpha 1, its authors').

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./convnet_mixups_CE_none.py"
model = dict(mix_mode="rmix")
