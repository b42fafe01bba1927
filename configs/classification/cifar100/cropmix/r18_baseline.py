"""ResNet-18 on CIFAR-100 by CropMix's CIFAR recipe, 300 epochs, without CropMix: crops of 4 pixels' padding and flips.

The recipe is that of the authors' code. Which accuracy they had with it is not known here: their README shows none for
CIFAR. What is doubtful in it: --arch is not heeded, all but a ViT is this ResNet-18; with several GPUs each of them
goes through the whole set, so that an epoch is as many passes. This is the run on one. openmix has not run it yet, so
it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_cropmix.py",
    "../../../_base_/models/r18_mixups.py",
    "../../../_base_/schedules/cropmix_cifar.py",
    "../../../_base_/runtime.py",
]
model = dict(head=dict(num_classes=100), mix_mode="vanilla")
