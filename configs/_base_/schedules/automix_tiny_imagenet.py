# OpenMixup's recipe for learned mixing on Tiny-ImageNet: the student's rate goes from 0.2 to 0.05 by epoch, the mix
# block's from 0.1 to 0.001.
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys=dict(mix_block=dict(lr_mult=0.5))),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", eta_min=0.05, group="student"),
    dict(type="CosineAnnealingLR", eta_min=1e-3, group="mix_block"),
]
train_cfg = dict(max_epochs=400)
