"""A small network on CIFAR-10 with AugMix as its authors train it: one clean view, two augmented, Jensen-Shannon loss.

Expect what docs/benchmarks/cifar10_one_epoch.md says after one epoch; nobody has published a figure for this network.
"""

_base_ = [
    "../../../../_base_/datasets/cifar10.py",
    "../../../../_base_/schedules/sgd_cosine.py",
    "../../../../_base_/runtime.py",
]
model = dict(
    type="AugMixClassification",
    backbone=dict(type="ConvNet", widths=[32, 64, 128]),
    head=dict(type="ClsHead", num_classes=10),
)
train_cfg = dict(max_epochs=3)
