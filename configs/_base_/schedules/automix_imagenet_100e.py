# OpenMixup's recipe for learned mixing on ImageNet, 256 images a step: the student's rate goes from 0.1 to 0 by epoch,
# the mix block's to 0.001.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = [
    dict(type="CosineAnnealingLR", eta_min=0.0, group="student"),
    dict(type="CosineAnnealingLR", eta_min=1e-3, group="mix_block"),
]
train_cfg = dict(max_epochs=100)
