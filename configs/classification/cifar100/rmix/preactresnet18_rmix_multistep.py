"""PreActResNet-18 on CIFAR-100 with R-Mix under its other schedule, MultiStepLR, 300 epochs.

R-Mix's README offers the schedule and publishes no figure for it. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/models/preactresnet18_mixups.py",
    "../../../_base_/schedules/rmix_multistep.py",
    "../../../_base_/runtime.py",
]
model = dict(head=dict(num_classes=100), mix_mode="rmix")
