# DeiT's recipe for 1024 images a step: AdamW, 5 epochs of warm-up, a cosine by step; norms, biases, the class token
# and positions do not decay. OpenMixup clips at 5.
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=5.0),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-05, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=300)
