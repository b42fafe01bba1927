# Co-Mixup's recipe for CIFAR: a tenth after epochs 100 and 200.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=0.0001, nesterov=True))
param_scheduler = dict(type="MultiStepLR", milestones=[100, 200], gamma=0.1)
train_cfg = dict(max_epochs=300)
