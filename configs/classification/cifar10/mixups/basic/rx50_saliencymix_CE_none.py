"""ResNeXt-50 (32x4d) on CIFAR-10 with SaliencyMix (alpha 0.2), boxes about what is salient in the image.

What OpenMixup publishes is another method: see rx50_saliencymix_CE_none_openmixup.py.
openmix has not run it yet, so it claims no figure.
"""

_base_ = "./rx50_mixups_CE_none.py"
model = dict(mix_mode="saliencymix", alpha=0.2)
