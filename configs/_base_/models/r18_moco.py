# MoCo's CIFAR demo: 128 numbers by one linear layer, a queue of 4096 keys, BatchNorm over 8 parts of a batch.
model = dict(
    type="MoCo",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[128]),
    queue_size=4096,
    momentum=0.99,
    temperature=0.1,
    splits=8,
)
