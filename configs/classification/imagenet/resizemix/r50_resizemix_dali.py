"""ResNet-50 on ImageNet with ResizeMix, 300 epochs, from RecordIO through DALI: the row as ResizeMix ran it.

Published top-1: 79.00 (ResizeMix's README; no seeds, no spread, best or last epoch not said). As r50_resizemix.py, but
for the loader. ResizeMix's own DALI reader shows some images twice an epoch and some not at all, and a window of 1,024
images is all that it shuffles; here every epoch is a permutation. Its crops are enlarged by Lanczos' filter, ours by
the bilinear one. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/imagenet_resizemix_dali.py",
    "../../../_base_/models/r50_torchvision_mixups.py",
    "../../../_base_/schedules/resizemix_imagenet.py",
    "../../../_base_/runtime.py",
]
model = dict(mix_mode="resizemix")
