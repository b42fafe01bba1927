"""ResNet-18 on CIFAR-10 with GridMix (alpha 0.2, the benchmark's), every crop inside the image.

OpenMixup's published row came from code whose crops wrap around where they exceed the image, in 45 % of draws:
r18_gridmix_CE_none_openmixup.py is that. openmix has not run either yet, so it claims no figure.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="gridmix", alpha=0.2)
