"""ResNeXt-50 (32x4d) on CIFAR-10 with ResizeMix, the correct method.

OpenMixup's published row came from a port that draws other boxes: rx50_resizemix_CE_none_openmixup.py
is that. openmix has not run either yet, so it claims no figure.
"""

_base_ = "./rx50_mixups_CE_none.py"
model = dict(mix_mode="resizemix", alpha=None)
