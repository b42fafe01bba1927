"""ResNet-18 on CIFAR-10 by MoCo v2 with BatchNorm over the whole batch for the keys, 200 epochs: asym-siam's AsymBN.

The query's BatchNorm stays that of 8 parts of the batch. Wang et al. (CVPR 2022) have it for ImageNet, where the parts
are GPUs: 66.3 by a linear probe, 65.8 without (ResNet-50, 100 epochs). This is for one process. For CIFAR nobody has
published a figure. openmix has not run it yet, so it claims none either.
"""

_base_ = "./r18_cifar10_moco.py"
model = dict(key_splits=1)
