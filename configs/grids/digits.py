"""Three methods, two alphas and two seeds on ten labelled digits a class: 10 runs of seconds each on a CPU."""

base = "../quickstart/digits_vanilla.py"
axes = dict(
    mix_mode=["vanilla", "mixup", "cutmix"],
    alpha=[0.2, 1.0],
    seed=[0, 1],
)
exclude = [dict(mix_mode="vanilla", alpha=0.2)]  # it has none: once is enough
