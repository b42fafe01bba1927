"""A small network on CIFAR-10 by MoCo v3, 2 epochs on a CPU: a predictor, no queue, both views predict each other.

Projector and predictor are solo-learn's, smaller, its momentum is 0.99 to 1 as well; the optimizer is SGD, as for the
other methods at this size. Expect what docs/selfsup.md says; nobody has published a figure for this network.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views.py",
    "../../_base_/schedules/selfsup_convnet.py",
    "../../_base_/runtime_selfsup.py",
]
model = dict(
    type="MoCoV3",
    backbone=dict(type="ConvNet", widths=[16, 32, 64]),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[256, 128], norm="all"),
    predictor=dict(type="ProjectionMLP", channels=[256, 128]),
    momentum=0.99,
    momentum_end=1.0,
    temperature=0.2,
)
