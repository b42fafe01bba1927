# OpenMixup's recipe for learned mixing with transformers on CIFAR-100, 100 images a step: DeiT's with other numbers.
_base_ = "./deit_300e.py"
optim_wrapper = dict(optimizer=dict(lr=5e-4), clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, end=5, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=1e-4, begin=5, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=200)
