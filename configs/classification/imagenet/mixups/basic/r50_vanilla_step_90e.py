"""ResNet-50 on ImageNet by PyTorch's reference recipe, 90 epochs, with no mixing.

torchvision publishes 76.13 for its weights IMAGENET1K_V1, trained like this with other crops' interpolation. 256
images a step: run it on 4 processes. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../../_base_/datasets/imagenet_openmixup.py",
    "../../../../_base_/models/r50_torchvision_mixups.py",
    "../../../../_base_/schedules/imagenet_step_90e.py",
    "../../../../_base_/runtime.py",
]
model = dict(mix_mode="vanilla")
