"""ResNeXt-50 (32x4d) on CIFAR-10 with GridMix (alpha 0.2), the correct method.

OpenMixup's published row came from crops that wrap around where they exceed the image:
rx50_gridmix_CE_none_openmixup.py is that. openmix has not run either yet, so it claims no figure.
"""

_base_ = "./rx50_mixups_CE_none.py"
model = dict(mix_mode="gridmix", alpha=0.2)
