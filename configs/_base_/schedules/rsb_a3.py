# "ResNet strikes back", recipe A3, for 2048 images a step: LAMB, 5 epochs of warm-up, a cosine by step; norms and
# biases do not decay.
optim_wrapper = dict(
    optimizer=dict(type="Lamb", lr=0.008, weight_decay=0.02),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-06, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
