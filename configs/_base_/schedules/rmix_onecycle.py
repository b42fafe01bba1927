# R-Mix's recipe for CIFAR: one cycle, which moves the momentum from 0.95 to 0.85 and back as well (the optimizer's
# own learning rate and momentum count for nothing).
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=0.0001, nesterov=True))
param_scheduler = dict(
    type="OneCycleLR",
    max_lr=0.29947526988779305,
    pct_start=0.3,
    div_factor=100,
    final_div_factor=10000,
    by_epoch=False,
)
train_cfg = dict(max_epochs=300)
