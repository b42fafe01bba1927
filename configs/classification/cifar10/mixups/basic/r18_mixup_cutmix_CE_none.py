"""ResNet-18 on CIFAR-10 with MixUp and CutMix in turn, the example of OpenMixup's CIFAR-10 page.

It publishes no figure for it.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(
    alpha=[0.1, 1],  # one for each mode
    mix_mode=["mixup", "cutmix"],
    mix_prob=[0.4, 0.6],  # sums to 1; None draws uniformly
    mix_repeat=1,
)
