"""ResNet-18 on CIFAR-10 by MoCo v2, 200 epochs: the official CIFAR demo.

Published kNN accuracy (k = 200, T = 0.1, on the projector's 128 numbers): 82.6 at 200 epochs, 86.3 at 400, 88.7 at 800
(the notebook of MoCo's authors; its log ends at 82.58; one run each). Their last batch of an epoch is dropped, as here.
The validation's kNN is on the 128 numbers, too, for that; what is used later is the trunk before them. openmix has not
run it yet, so it claims no figure.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views_moco.py",
    "../../_base_/models/r18_moco.py",
    "../../_base_/schedules/moco_cifar.py",
    "../../_base_/runtime_selfsup.py",
]
val_cfg = dict(knn=dict(features="projection"))
