# MoCo's recipe for ImageNet as asym-siam and CropMix train it, 256 images a step: SGD, cosine to 0 moved on once an
# epoch, no warm-up. The online probe is none of theirs: its rate is 0.3, and its weights do not decay.
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={"probe.": dict(lr_mult=10.0, decay_mult=0.0)}),
)
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True)
train_cfg = dict(max_epochs=100, val_interval=10)
