"""ResNet-50 on ImageNet by CropMix's recipe 1, 300 epochs, with plain random resized crops: the baseline of its table.

Published top-1: 76.59, or 77.60 with CropMix (read off the image of a table in its README; no seeds, no spread, the
best epoch). Its crops are PIL's bilinear ones, of 0.08 to 1 of the area. openmix has not run it yet, so it claims no
figure.
"""

_base_ = [
    "../../../_base_/datasets/imagenet_resizemix.py",
    "../../../_base_/models/r50_torchvision_mixups.py",
    "../../../_base_/schedules/cropmix_imagenet.py",
    "../../../_base_/runtime.py",
]
train_dataloader = dict(batch_size=256)  # on one process, or 64 on each of 4
model = dict(backbone=dict(zero_init_residual=True), mix_mode="vanilla")  # as timm begins, whose network CropMix trains
