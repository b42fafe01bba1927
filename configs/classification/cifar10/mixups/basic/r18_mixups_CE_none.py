"""ResNet-18 on CIFAR-10 with a hand-crafted mixing method: the base of OpenMixup's CIFAR-10 benchmark.

Recipe: batch 100, SGD 0.1, momentum 0.9, weight decay 1e-4, cosine to 0 by epoch; train_cfg.max_epochs is 200, 400, 800
or 1200. Change model.mix_mode and model.alpha for the rows of its table.
Published top-1 for 200 epochs (OpenMixup's docs: median of the last 10 epochs; no seeds, no spread): vanilla 94.87,
mixup (alpha 1) 95.70, cutmix (0.2) 96.11, resizemix (its port, preset 'openmixup' here) 96.16. openmix has not run
them yet, so it claims no figure of its own.
"""

_base_ = [
    "../../../../_base_/datasets/cifar10.py",
    "../../../../_base_/models/r18_mixups.py",
    "../../../../_base_/schedules/sgd_cosine.py",
    "../../../../_base_/runtime.py",
]
