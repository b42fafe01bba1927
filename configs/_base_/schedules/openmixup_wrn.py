# OpenMixup's recipe for WRN-28-8 on CIFAR-100: a cosine to 0 by epoch.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=0.001))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0)
train_cfg = dict(max_epochs=400)
