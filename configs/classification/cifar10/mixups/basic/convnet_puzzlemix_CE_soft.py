"""A small network on CIFAR-10 with Puzzle Mix (alpha 1, grids of 2 to 16 blocks a side).

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./convnet_mixups_CE_none.py"
model = dict(mix_mode="puzzlemix", alpha=1.0)
