"""ResNet-18 on CIFAR-10 by SimSiam, 800 epochs: the recipe of PatrickHua/SimSiam.

Published: 90.3 by kNN (k = 200) and 90.83 by a linear probe (rate 30, no decay, 100 epochs), one run. SimSiam's own
paper (figure D.1) has a kNN curve that ends near 90 for this network. From the recipe's code: a rate of 0.06 for 512
images after 10 epochs of warm-up, constant for the predictor; decay 5e-4 for all; a projector of two layers; crops of
0.2 to 1, no blur; ImageNet's mean and std. What differs: its projector's last BatchNorm has affine parameters, this one
none, as in the paper's code; its images to be judged are enlarged to 36 pixels and cropped to 32, here they stay as
they are. openmix has not run it yet, so it claims no figure.
"""

_base_ = ["../../_base_/datasets/cifar10_views.py", "../../_base_/runtime_selfsup.py"]
data_preprocessor = dict(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
train_dataloader = dict(batch_size=512)
model = dict(
    type="SimSiam",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[2048, 2048], norm="all"),
    predictor=dict(type="ProjectionMLP", channels=[512, 2048]),
)
optim_wrapper = dict(
    optimizer=dict(type="SGD", lr=0.06, momentum=0.9, weight_decay=5e-4),
    paramwise_cfg=dict(custom_keys={"probe.": dict(lr_mult=5.0, decay_mult=0.0)}),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-5, end=10, convert_to_iter_based=True, group="encoder"),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=10, convert_to_iter_based=True, group="encoder"),
    dict(type="CosineAnnealingLR", eta_min=0.0, convert_to_iter_based=True, group="probe"),
]
train_cfg = dict(max_epochs=800, val_interval=20)
