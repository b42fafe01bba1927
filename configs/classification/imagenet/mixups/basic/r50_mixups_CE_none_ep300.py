"""ResNet-50 on ImageNet in PyTorch's manner, 300 epochs, MixUp (alpha 0.2).

Published top-1 for 300 epochs: vanilla 77.35, mixup 78.44, cutmix (alpha 1) 78.69 (OpenMixup's docs: median of the
last 10 epochs; no seeds, no spread). openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../../_base_/datasets/imagenet_openmixup.py",
    "../../../../_base_/models/r50_mixups.py",
    "../../../../_base_/schedules/imagenet_cosine_300e.py",
    "../../../../_base_/runtime.py",
]
model = dict(alpha=0.2)
