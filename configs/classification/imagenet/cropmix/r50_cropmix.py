"""ResNet-50 on ImageNet with CropMix by its recipe 1, 300 epochs: mixup of 2, 3 or 4 crops, channels permuted.

Published top-1: 77.60, or 76.59 without (read off the image of a table in its README; no seeds, no spread, the best
epoch). What is known of the code behind it: two crops' areas met at 0.495 and not at 0.505, and each worker drew the
number of crops once an epoch, where here every image has its own. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./r50_baseline.py"
train_dataloader = dict(
    pipeline=[
        dict(type="CropMix", scale=0.01, mix_ratio=0.4, number=234, operation=0, inter_aug=True, size=224),
        dict(type="RandomHorizontalFlip"),
    ]
)
