# A small SimSiam.
model = dict(
    type="SimSiam",
    backbone=dict(type="ConvNet", widths=[16, 32, 64]),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[256, 256], norm="all"),
    predictor=dict(type="ProjectionMLP", channels=[64, 256]),
)
