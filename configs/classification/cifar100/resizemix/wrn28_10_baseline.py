"""WRN-28-10 on CIFAR-100 with no mixing, 200 epochs: a row of ResizeMix's CIFAR-100 table.

Published top-1: 81.20 (ResizeMix's README; no seeds, no spread, best or last epoch not said). openmix has not run it
yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_resizemix.py",
    "../../../_base_/models/wrn28_10_mixups.py",
    "../../../_base_/schedules/resizemix_wrn.py",
    "../../../_base_/runtime.py",
]
model = dict(head=dict(num_classes=100), mix_mode="vanilla")
