"""ResNet-18 on CIFAR-10 with CropMix by its CIFAR recipe, 300 epochs: CropMix and flips, without the padded crops.

The settings are the command in the authors' README. Which accuracy it gives is not known here, as that shows none for
CIFAR. What is doubtful in it, besides what the baseline says: with this scale of 0.5 the code as first published stops
with an empty band, so the command was not run on it; the option's default there is 0.25. openmix has not run it yet, so
it claims no figure.
"""

_base_ = "./r18_baseline.py"
train_dataloader = dict(
    pipeline=[
        dict(type="CropMix", scale=0.5, mix_ratio=0.4, number=2, operation=0, inter_aug=True, size=32),
        dict(type="RandomHorizontalFlip"),
    ]
)
