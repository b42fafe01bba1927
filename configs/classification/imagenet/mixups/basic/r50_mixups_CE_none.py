"""ResNet-50 on ImageNet in PyTorch's manner, 100 epochs, MixUp (alpha 0.2): the base of OpenMixup's ImageNet benchmark.

Published top-1 for 100 epochs: vanilla 76.83, mixup 77.12, cutmix (alpha 1) 77.17 (OpenMixup's docs: median of the
last 5 epochs; no seeds, no spread). 256 images a step: run it on 4 processes. openmix has not run it yet, so it
claims no figure.
"""

_base_ = [
    "../../../../_base_/datasets/imagenet_openmixup.py",
    "../../../../_base_/models/r50_mixups.py",
    "../../../../_base_/schedules/imagenet_cosine_100e.py",
    "../../../../_base_/runtime.py",
]
model = dict(alpha=0.2)
