"""A small network on CIFAR-10, for a first look on a CPU: about a minute an epoch on two cores.

Expect what README.md says under "What to expect on a CPU"; nobody has published a figure for this network.
"""

_base_ = [
    "../../../../_base_/datasets/cifar10.py",
    "../../../../_base_/models/convnet_mixups.py",
    "../../../../_base_/schedules/sgd_cosine.py",
    "../../../../_base_/runtime.py",
]
train_cfg = dict(max_epochs=3)
