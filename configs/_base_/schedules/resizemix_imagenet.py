# ResizeMix's recipe for ImageNet: 512 images a step, a cosine to 1e-5 by step, no warm-up.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.5, momentum=0.9, weight_decay=4e-05))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=1e-5, by_epoch=False)
train_cfg = dict(max_epochs=300)
