"""ResNet-50 on ImageNet with R-Mix as its authors train there: the clean images' loss counts as well, 100 epochs.

Published top-1: 77.39 (R-Mix's README, last checkpoint). No seeds, no spread. The recipe is that of
r50_baseline_phases.py: bash tools/dist_train.sh CONFIG 4 --amp fp16. openmix has not run it yet, so it claims no
figure.
"""

_base_ = "./r50_baseline_phases.py"
model = dict(mix_mode="rmix", mix_args=dict(rmix=dict(preset="imagenet")), clean_weight=1.0)
