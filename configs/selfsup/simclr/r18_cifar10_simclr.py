"""ResNet-18 on CIFAR-10 by SimCLR, 200 epochs of 128 images a step: lightly's benchmark.

Published kNN accuracy (k = 200, T = 0.1, on the trunk's 512 numbers): 84.7, the highest of all epochs, one run; older
figures of the same benchmark are 82.2. From its code: SGD of rate 0.06, decay 5e-4, a cosine by epoch, temperature
0.5, a projector 512-512-128; crops of 0.08 to 1, no blur; ImageNet's mean and std. Not known here: whether the
projector had BatchNorm when 84.7 was measured; this one has it behind the hidden layer. openmix has not run it yet, so
it claims no figure.
"""

_base_ = [
    "../../_base_/datasets/cifar10_views_moco.py",
    "../../_base_/schedules/moco_cifar.py",
    "../../_base_/runtime_selfsup.py",
]
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(batch_size=128)
model = dict(
    type="SimCLR",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[512, 128]),
    temperature=0.5,
)
