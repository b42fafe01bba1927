"""OpenMixup's CIFAR-10 table: 13 methods, 4 lengths and 2 networks, with the alphas that it prints, and three seeds.

Four of its rows came from code that draws otherwise than the papers; `bases` names the configs that do as it did, so
that runs compare with the figures that were published; without these lines the methods are the papers'. It prints
the median of the last 10 epochs, with no seeds and no spread. On two CPU cores an epoch of ResNet-18 takes ten minutes:
this is for GPUs, and all 312 runs for several.
"""

base = "../classification/cifar10/mixups/basic/r18_mixups_CE_none.py"
axes = dict(
    backbone=["r18", "rx50"],
    mix_mode=[
        "vanilla", "mixup", "cutmix", "manifoldmix", "smoothmix", "saliencymix", "attentivemix", "fmix", "puzzlemix",
        "gridmix", "resizemix", "automix", "samix",
    ],
    alpha=dict(
        mixup=1,
        cutmix=0.2,
        manifoldmix=2,
        smoothmix=dict(r18=0.5, rx50=0.2),  # as printed; it has no effect
        saliencymix=0.2,
        attentivemix=2,
        fmix=0.2,
        puzzlemix=1,
        gridmix=0.2,
        resizemix=1,
        automix=2,
        samix=2,
    ),
    max_epochs=[200, 400, 800, 1200],
    seed=[0, 1, 2],
)  # fmt: skip
bases = dict(
    smoothmix="../classification/cifar10/mixups/basic/{backbone}_smoothmix_CE_none_openmixup.py",
    saliencymix="../classification/cifar10/mixups/basic/{backbone}_saliencymix_CE_none_openmixup.py",
    gridmix="../classification/cifar10/mixups/basic/{backbone}_gridmix_CE_none_openmixup.py",
    resizemix="../classification/cifar10/mixups/basic/{backbone}_resizemix_CE_none_openmixup.py",
)
