"""ResNet-18 on CIFAR-10 with MixUp and binary cross entropy, summed over classes as OpenMixup has it.

OpenMixup publishes no figure for it on CIFAR-10, and openmix has not run it yet, so it claims none.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(head=dict(loss=dict(type="MixBinaryCrossEntropy", class_reduction="sum")))
