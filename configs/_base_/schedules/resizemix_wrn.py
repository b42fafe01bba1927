# ResizeMix's recipe for WRN on CIFAR: 5 epochs from 1e-5 to 0.2, then a cosine to 1e-5, both by step; no Nesterov,
# everything decays.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=0.0005))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5 / 0.2, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-05, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=200)
