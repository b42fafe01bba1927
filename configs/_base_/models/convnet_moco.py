# A small MoCo v2: the queue, momentum, temperature and split BatchNorm of MoCo's CIFAR demo, a hidden layer as in v2.
model = dict(
    type="MoCo",
    backbone=dict(type="ConvNet", widths=[16, 32, 64]),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[128, 128], norm="none"),
    queue_size=4096,
    momentum=0.99,
    temperature=0.1,
    splits=8,
)
