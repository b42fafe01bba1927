"""PreActResNet-18 on CIFAR-100 with CutMix+: CutMix in every second batch on average, under R-Mix's one-cycle recipe,
300 epochs.

Published top-1: 81.62 (R-Mix's README, last checkpoint). That CutMix+ is this is inferred from R-Mix's code, which
runs each clean batch through the network in training mode as well (clean_pass). No seeds, no spread. openmix has not
run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/models/preactresnet18_mixups.py",
    "../../../_base_/schedules/rmix_onecycle.py",
    "../../../_base_/runtime.py",
]
model = dict(
    head=dict(num_classes=100), mix_mode=["cutmix", "vanilla"], alpha=1.0, mix_prob=[0.5, 0.5], clean_pass=True
)
