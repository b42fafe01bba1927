# R-Mix's recipe for ImageNet: straight lines between knots, moved on by step; BatchNorm does not decay. With
# Nesterov's momentum, which Puzzle Mix and Co-Mixup do without.
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.5, momentum=0.9, weight_decay=0.0001, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0.0),
)
param_scheduler = dict(
    type="PiecewiseLinearLR",
    knots=[
        [0, 0.5], [8, 1.0], [15, 0.125],
        [15, 0.2], [40, 0.02],
        [40, 0.02], [65, 0.002], [90, 0.0002], [100, 0.00002],
    ],
    convert_to_iter_based=True,
)  # fmt: skip
train_cfg = dict(max_epochs=100)
