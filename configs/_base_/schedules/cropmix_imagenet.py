# CropMix's recipe 1 for ImageNet, 256 images a step: a tenth every 75 epochs (its documentation says 30).
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.0001))
param_scheduler = dict(type="StepLR", step_size=75, gamma=0.1)
train_cfg = dict(max_epochs=300)
