"""A small vision transformer on CIFAR-10 with TokenMix (lam 0.5; of 64 patches as many more as of the authors' 196).

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = "./vit_micro_mixups_CE_none.py"
model = dict(mix_mode="tokenmix", mix_args=dict(tokenmix=dict(minimum_tokens=5)))
