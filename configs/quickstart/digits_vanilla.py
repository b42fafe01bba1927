"""Ten labelled digits a class without mixing, the baseline of the quick start.

Expect top-1 92.3 % on the val split (500 images; mean of seeds 0, 1, 2 at the last epoch), where the settings
were chosen; a few seconds a run on one CPU core. The test split is for scripts/quickstart.sh's table alone.
"""

_base_ = [
    "../_base_/datasets/digits_few_labels.py",
    "../_base_/models/convnet_mixups.py",
    "../_base_/runtime.py",
    "../_base_/schedules/digits_200e.py",
]
model = dict(backbone=dict(widths=[16, 32], in_channels=1), mix_mode="vanilla")
default_hooks = dict(checkpoint=dict(interval=200))
