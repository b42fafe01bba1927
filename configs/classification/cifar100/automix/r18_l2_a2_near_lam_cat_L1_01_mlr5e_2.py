"""ResNet-18 on CIFAR-100 with AutoMix, 400 epochs; lambda is a channel of the features, as in the paper.

OpenMixup has this config, too, and prints no figure of its own for it; masks of r18_l2_a2_near_L1_01_mlr5e_2.py do not
depend on lambda. openmix has not run it, so it claims no figure of its own.
"""

_base_ = "./r18_l2_a2_near_L1_01_mlr5e_2.py"
model = dict(mix_block=dict(lam_concat=True))
