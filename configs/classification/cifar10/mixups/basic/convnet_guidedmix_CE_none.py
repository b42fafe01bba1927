"""A small network on CIFAR-10 with GuidedMixup, guided by the gradient of its own loss (the authors' 'ap').

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./convnet_mixups_CE_none.py"
model = dict(mix_mode="guidedmix")
