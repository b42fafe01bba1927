"""ResNet-50 on ImageNet by MoCo v2, 100 epochs on 8 GPUs: the baseline of CropMix's table 3.

Published top-1 of a linear probe: 65.8 (asym-siam's README has the same), with 10 % of the labels 57.3, with 1 % 14.6
(read off the image of a table; no seeds, no spread). The projector is asym-siam's, of three layers with one BatchNorm.
On one GPU train_dataloader.batch_size=256 model.splits=8 is the same step, BatchNorm included. openmix has not run it
yet, so it claims no figure.
"""

_base_ = [
    "../../_base_/datasets/imagenet_views.py",
    "../../_base_/schedules/moco_imagenet_100e.py",
    "../../_base_/runtime_selfsup.py",
]
model = dict(
    type="MoCo",
    backbone=dict(type="ResNet", depth=50),
    probe=dict(type="ClsHead", num_classes=1000),
    projector=dict(type="ProjectionMLP", channels=[2048, 2048, 128], norm="first"),
    queue_size=65536,
    momentum=0.999,
    temperature=0.2,
)
