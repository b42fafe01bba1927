"""ResNet-18 on CIFAR-10 with ResizeMix, the authors' algorithm.

OpenMixup's published row came from its port, which draws other boxes: r18_resizemix_CE_none_openmixup.py is that. The
authors publish no figure for this network. openmix has not run either yet, so it claims no figure.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="resizemix")
