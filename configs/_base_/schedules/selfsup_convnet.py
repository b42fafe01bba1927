# A few epochs on a CPU, 256 images a step: SGD, cosine to 0 by step. The online probe has a rate of its own, and its
# weights do not decay.
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.06, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={"probe.": dict(lr_mult=5.0, decay_mult=0.0)}),
)
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, convert_to_iter_based=True)
train_cfg = dict(max_epochs=2)
