"""No mixing, and two methods with two alphas, on ten labelled digits a class; two seeds: 10 runs of seconds each."""

base = "../quickstart/digits_vanilla.py"
axes = dict(
    mix_mode=["vanilla", "mixup", "cutmix"],
    alpha=dict(mixup=[0.2, 1.0], cutmix=[0.2, 1.0]),
    seed=[0, 1],
)
