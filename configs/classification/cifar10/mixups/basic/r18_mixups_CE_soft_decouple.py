"""ResNet-18 on CIFAR-10 with MixUp and decoupled mixup (DecoupleMix, eta 0.1).

OpenMixup publishes no figure for it on CIFAR-10, and openmix has not run it yet, so it claims none.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(head=dict(loss=dict(type="DecoupledCrossEntropy", eta=0.1)))
