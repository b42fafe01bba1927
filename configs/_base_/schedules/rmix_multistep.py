# R-Mix's other recipe for CIFAR: a tenth after epochs 150 and 225.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=0.0001, nesterov=True))
param_scheduler = dict(type="MultiStepLR", milestones=[150, 225], gamma=0.1)
train_cfg = dict(max_epochs=300)
