# OpenMixup's recipe for learned mixing with WRN-28-8: a cosine to 0.001 by epoch.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.03, momentum=0.9, weight_decay=1e-3))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=1e-3)
train_cfg = dict(max_epochs=400)
