"""ResNet-18 on CIFAR-100 with MixUp (alpha 1): a base of OpenMixup's CIFAR-100 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 78.52, 79.34, 79.12, 79.24
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
Change model.mix_mode and model.alpha for the rows of its table.
"""

_base_ = [
    "../../../../_base_/datasets/cifar100.py",
    "../../../../_base_/models/r18_mixups.py",
    "../../../../_base_/schedules/sgd_cosine.py",
    "../../../../_base_/runtime.py",
]
model = dict(head=dict(num_classes=100), alpha=1.0)
