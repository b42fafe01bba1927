"""WRN-28-8 on CIFAR-100 with MixUp (alpha 1): a base of OpenMixup's CIFAR-100 benchmark.

Published top-1 for 400 epochs: 82.82
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
Change model.mix_mode and model.alpha for the rows of its table.
"""

_base_ = [
    "../../../../_base_/datasets/cifar100.py",
    "../../../../_base_/models/wrn28_8_mixups.py",
    "../../../../_base_/schedules/openmixup_wrn.py",
    "../../../../_base_/runtime.py",
]
model = dict(head=dict(num_classes=100), alpha=1.0)
