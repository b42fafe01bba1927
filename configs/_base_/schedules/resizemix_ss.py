# ResizeMix's recipe for Shake-Shake on CIFAR: 5 epochs from 1e-5 to 0.04, then a cosine to 1e-5, both by step.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.04, momentum=0.9, weight_decay=0.0001))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5 / 0.04, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-05, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=1800)
