# MoCo's CIFAR demo, 512 images a step: SGD, cosine to 0 moved on once an epoch (the demo counts epochs from 1, this
# from 0). The demo has no online probe: its rate is 0.3, as solo-learn's for MoCo, and its weights do not decay.
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.06, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={"probe.": dict(lr_mult=5.0, decay_mult=0.0)}),
)
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True)
train_cfg = dict(max_epochs=200, val_interval=10)
