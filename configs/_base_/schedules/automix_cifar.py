# OpenMixup's recipe for learned mixing on CIFAR: a cosine by epoch that ends at half the rate, as the momentum encoder
# follows the student more and more slowly; mix block and student alike.
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = dict(type="CosineAnnealingLR", eta_min=0.05)
train_cfg = dict(max_epochs=400)
