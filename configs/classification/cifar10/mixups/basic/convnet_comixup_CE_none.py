"""A small network on CIFAR-10 with Co-Mixup: five groups of twenty images in a batch of 100; no clean term.

Nobody has published a figure for this network.
"""

_base_ = "./convnet_mixups_CE_none.py"
model = dict(mix_mode="comixup")
