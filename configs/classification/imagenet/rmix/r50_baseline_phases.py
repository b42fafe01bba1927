"""ResNet-50 on ImageNet in R-Mix's three phases, 100 epochs, with no mixing.

The recipe that R-Mix, Co-Mixup and Puzzle Mix share for ImageNet: 1024 images of 128 pixels a step to epoch 15, then
448 of 224; straight lines of the learning rate. One command trains through all phases: bash tools/dist_train.sh
CONFIG 4 --amp fp16, as they train in half precision. fc's bias begins at 0, where R-Mix's begins uniform in +-0.022.
Nobody publishes a figure without mixing that could be reproduced (users of Puzzle Mix's code report 2 to 3 per cent
below its paper's). openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/imagenet_rmix_phases.py",
    "../../../_base_/models/r50_torchvision_mixups.py",
    "../../../_base_/schedules/rmix_imagenet_phases.py",
    "../../../_base_/runtime.py",
]
model = dict(head=dict(init="normal"), mix_mode="vanilla")
