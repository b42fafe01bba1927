""" "ResNet strikes back" (arXiv:2110.00476), recipe A3: ResNet-50 on ImageNet, 100 epochs of 160 pixels, LAMB, BCE.

Published top-1: 78.1 in the paper, 78.08 in OpenMixup's docs. 2048 images a step: run it on 4 processes. MixUp (0.1)
and CutMix (1) take turns at random; the targets are the shares of the mix, OpenMixup's form, where the paper sets
each mixed class to 1 (two_hot='one' in the loss). openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../../_base_/datasets/imagenet_rsb_a3.py",
    "../../../../_base_/models/r50_mixups.py",
    "../../../../_base_/schedules/rsb_a3.py",
    "../../../../_base_/runtime.py",
]
model = dict(
    head=dict(loss=dict(type="MixBinaryCrossEntropy")),
    mix_mode=["mixup", "cutmix"],
    alpha=[0.1, 1.0],
    mix_prob=[0.5, 0.5],
)
