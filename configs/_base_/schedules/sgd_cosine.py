# OpenMixup's CIFAR-10 recipe: SGD, no Nesterov, cosine to 0 moved on once an epoch.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True)
train_cfg = dict(max_epochs=200)
