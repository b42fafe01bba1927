"""A small network on CIFAR-10 with AttentiveMix+ (alpha 2), guided by its own last feature map.

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./convnet_mixups_CE_none.py"
model = dict(mix_mode="attentivemix", alpha=2.0, mix_args=dict(attentivemix=dict(preset="openmixup")))
