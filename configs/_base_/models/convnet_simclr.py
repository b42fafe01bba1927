# A small SimCLR, with the paper's temperature for CIFAR-10.
model = dict(
    type="SimCLR",
    backbone=dict(type="ConvNet", widths=[16, 32, 64]),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[128, 128]),
    temperature=0.5,
)
