# MAE's fine-tuning: AdamW with rates that shrink towards the images, 5 epochs of warm-up, a cosine by step. Nothing of
# one dimension decays, nor do positions and the class token. The authors' rates end at 1e-6, these at 0: a floor would
# be one for all layers, and lie above the first ones' rates.
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys=dict(cls_token=dict(decay_mult=0.0), pos_embed=dict(decay_mult=0.0)),
        layer_decay=0.65,
    ),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
