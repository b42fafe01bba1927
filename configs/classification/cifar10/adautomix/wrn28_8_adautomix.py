"""WRN-28-8 on CIFAR-10 with AdAutoMix, 400 epochs.

Neither OpenMixup's docs nor its authors' README print a figure for it. Their config has alpha 2, mixes 2 or 3 images at
random and has norms in the attention; this is what they have for other networks: alpha 1, 3 images, no norms. Its
authors have no config for CIFAR-10: this is theirs for CIFAR-100, but for crops padded with zeros. openmix has not run
it, so it claims no figure of its own.
"""

_base_ = [
    "../../../_base_/datasets/cifar10.py",
    "../../../_base_/models/adautomix.py",
    "../../../_base_/schedules/automix_wrn.py",
    "../../../_base_/runtime.py",
]
model = dict(backbone=dict(type="WideResNet", depth=28, widen_factor=8, variant="openmixup"), head=dict(num_classes=10))
