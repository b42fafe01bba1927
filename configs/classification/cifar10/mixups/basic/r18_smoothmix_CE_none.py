"""ResNet-18 on CIFAR-10 with SmoothMix, its labels the right way round.

OpenMixup's published row came from inverted labels and must not be compared with this: what it came from is
r18_smoothmix_CE_none_openmixup.py. openmix has not run either yet, so it claims no figure.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="smoothmix")
