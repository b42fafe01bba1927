# MAE's recipe for 4096 images a step: AdamW, 20 epochs of warm-up, a cosine by step to 0. Nothing of one dimension
# decays, and neither does the online probe.
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=2.4e-3, betas=[0.9, 0.95], weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={"probe.": dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, end=20, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=20, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=200, val_interval=10)
