# 400 steps. Epochs (100, 200), batch and widths were chosen on the val split with all four methods in view.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=True)
train_cfg = dict(max_epochs=200, val_interval=200)
