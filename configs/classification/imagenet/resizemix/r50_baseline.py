"""ResNet-50 on ImageNet with no mixing, 300 epochs: a row of ResizeMix's ImageNet table.

Published top-1: 76.31 (ResizeMix's README; no seeds, no spread, best or last epoch not said). ResizeMix ships the
config of ResNet-101 with ResizeMix alone; the others are inferred from it. 512 images a step: run it on 8 processes,
or set optim_wrapper.accumulative_counts. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/imagenet_resizemix.py",
    "../../../_base_/models/r50_torchvision_mixups.py",
    "../../../_base_/schedules/resizemix_imagenet.py",
    "../../../_base_/runtime.py",
]
model = dict(mix_mode="vanilla")
