# ImageNet in PyTorch's manner, 100 epochs as OpenMixup trains it, 256 images a step: a cosine to 0 by epoch.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.0001))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0)
train_cfg = dict(max_epochs=100)
