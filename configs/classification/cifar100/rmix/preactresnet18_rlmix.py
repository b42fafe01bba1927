"""PreActResNet-18 on CIFAR-100 with RL-Mix and its authors' agent, under R-Mix's one-cycle recipe, 300 epochs.

Published top-1: 80.75 (public listings of R-Mix's paper, which do not name the schedule). The agent's learning rate
is not in the authors' code: 3e-4 stands in. No seeds, no spread. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/schedules/rmix_onecycle.py",
    "../../../_base_/runtime.py",
]
model = dict(
    type="RLMixClassification",
    backbone=dict(type="PreActResNet", depth=18),
    head=dict(type="ClsMixupHead", num_classes=100, init="torch"),
    batch_size=100,
    agent="authors",
)
