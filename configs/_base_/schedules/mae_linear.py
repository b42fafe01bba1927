# MAE's linear probe for 16384 images a step: LARS, no decay, 10 epochs of warm-up, a cosine by step to 0.
optim_wrapper = dict(optimizer=dict(type="LARS", lr=6.4, momentum=0.9, weight_decay=0.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, end=10, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=90)
