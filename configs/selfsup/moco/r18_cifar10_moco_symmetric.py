"""ResNet-18 on CIFAR-10 by MoCo v2 with the symmetric loss, 200 epochs: the official CIFAR demo's other half.

Published kNN accuracy (k = 200, T = 0.1, on the projector's 128 numbers): 85.3 at 200 epochs, 88.5 at 400, 89.7 at 800,
where a linear probe (rate 30, no decay, 100 epochs) has 90.7 (the notebook of MoCo's authors; one run each). An epoch
costs twice as much as without. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./r18_cifar10_moco.py"
model = dict(symmetric=True)
