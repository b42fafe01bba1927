"""ResNeXt-50 (32x4d) on CIFAR-100 with MixUp (alpha 1): a base of OpenMixup's CIFAR-100 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 81.18, 82.54, 82.10, 81.77
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
For methods that cut, its authors recommend optim_wrapper.optimizer.weight_decay=5e-4.
"""

_base_ = [
    "../../../../_base_/datasets/cifar100.py",
    "../../../../_base_/models/rx50_mixups.py",
    "../../../../_base_/schedules/sgd_cosine.py",
    "../../../../_base_/runtime.py",
]
model = dict(head=dict(num_classes=100), alpha=1.0)
