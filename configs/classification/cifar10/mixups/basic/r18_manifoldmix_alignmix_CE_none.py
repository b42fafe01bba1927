"""ResNet-18 on CIFAR-10 with Manifold Mixup and AlignMix in turn (alpha 2 both), as OpenMixup's configs have AlignMix.

It publishes no figure of its own for it. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(
    mix_mode=["manifoldmix", "alignmix"],
    alpha=[2.0, 2.0],
    mix_args=dict(alignmix=dict(preset="openmixup")),
)
