"""A small network on CIFAR-10 with AdAutoMix.

Expect 47.8 % after one epoch (seed 0; docs/benchmarks/cifar10.csv); nobody has published a figure for this network.
The momentum encoder (top1_k) follows slowly: after a few epochs it says little.
"""

_base_ = [
    "../../../_base_/datasets/cifar10.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/sgd_cosine.py",
    "../../../_base_/runtime.py",
]
model = dict(backbone=dict(type="ConvNet", widths=[32, 64, 128]), head=dict(num_classes=10))
train_cfg = dict(max_epochs=3)
