"""ResNeXt-29 4x24d on CIFAR-100 with Co-Mixup, 300 epochs.

The authors' code has no log of this network; its paper has a figure, without seeds or spread, that is not restated
here. They train with binary cross entropy on softmax probabilities, averaged over the classes, and with 2 / 100 of
the clean images' cross entropy, which is on the same scale. Here both are cross entropies of weight 1. That is not
their recipe in one respect: binary cross entropy has gradients 50 to 100 times smaller, at the same learning rate and
weight decay. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/models/resnext29_4_24_mixups.py",
    "../../../_base_/schedules/comixup_multistep.py",
    "../../../_base_/runtime.py",
]
model = dict(
    head=dict(num_classes=100),
    mix_mode="comixup",
    clean_weight=1.0,
)
