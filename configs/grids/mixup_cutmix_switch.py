"""MixUp and CutMix in turn, probabilities 0.4 and 0.6: the example of OpenMixup's CIFAR-10 page, with three seeds."""

base = "../classification/cifar10/mixups/basic/r18_mixups_CE_none.py"
axes = dict(
    mix_mode=[["mixup", "cutmix"]],
    alpha=[[0.1, 1]],  # one for each method
    mix_prob=[[0.4, 0.6]],
    seed=[0, 1, 2],
)
