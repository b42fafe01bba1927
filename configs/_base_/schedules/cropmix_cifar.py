# CropMix's recipe for CIFAR, 100 images a step: a tenth every 100 epochs.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(type="StepLR", step_size=100, gamma=0.1)
train_cfg = dict(max_epochs=300)
