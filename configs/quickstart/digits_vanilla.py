"""placeholder vanilla"""
_base_ = [
    '../_base_/datasets/digits_few_labels.py',
    '../_base_/models/convnet_mixups.py',
    '../_base_/schedules/sgd_cosine.py',
    '../_base_/runtime.py',
]
model = dict(backbone=dict(widths=[16, 32], in_channels=1), mix_mode='vanilla')
train_cfg = dict(max_epochs=60, val_interval=60)
default_hooks = dict(checkpoint=dict(interval=60))
