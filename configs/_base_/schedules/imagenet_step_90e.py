# PyTorch's reference recipe for ImageNet, 256 images a step: a tenth every 30 epochs.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.0001))
param_scheduler = dict(type="StepLR", step_size=30, gamma=0.1)
train_cfg = dict(max_epochs=90)
