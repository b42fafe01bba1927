"""A small vision transformer on CIFAR-10 with MixPro (alpha 1, cells of 2x2 patches).

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./vit_micro_mixups_CE_none.py"
model = dict(mix_mode="mixpro")
