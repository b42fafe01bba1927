"""ResNet-18 on CIFAR-10 with AlignMixup (alpha 2): the authors' algorithm, images in every second batch.

The benchmark's row (97.05 after 1200 epochs) is quoted from the authors, whose own recipe is another: 2000 epochs,
batch 128, steps. OpenMixup's config for it is r18_manifoldmix_alignmix_CE_none.py. openmix has not run either yet, so
it claims no figure.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="alignmix", alpha=2.0)
