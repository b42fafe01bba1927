"""ResNeXt-29 4x24d on CIFAR-100 with RL-Mix and its authors' agent, under R-Mix's one-cycle recipe, 300 epochs.

No figure for this cell could be obtained. The agent's learning rate is not in the authors' code: 3e-4 stands in. No
seeds, no spread. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/schedules/rmix_onecycle.py",
    "../../../_base_/runtime.py",
]
model = dict(
    type="RLMixClassification",
    backbone=dict(type="ResNeXt29_4_24"),
    head=dict(type="ClsMixupHead", num_classes=100, init="he"),
    batch_size=100,
    agent="authors",
)
