"""ResNeXt-50 (32x4d) on CIFAR-10 with MixUp (alpha 1): the base of the second half of OpenMixup's CIFAR-10 benchmark.

Published top-1 for 200, 400, 800, 1200 epochs: 96.88, 97.19, 97.30, 97.33
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = [
    "../../../../_base_/datasets/cifar10.py",
    "../../../../_base_/models/rx50_mixups.py",
    "../../../../_base_/schedules/sgd_cosine.py",
    "../../../../_base_/runtime.py",
]
model = dict(alpha=1.0)
