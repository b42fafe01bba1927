"""ResNet-18 on CIFAR-10 by MoCo v3, 1000 epochs, as far as solo-learn's recipe is known.

Published top-1 of the online probe: 93.10 (solo-learn's README; one run; run again by its maintainers it had about 90,
issue 385 there). From its config: LARS of rate 0.3 for 256 images with trust 0.02, clipped; weight decay 1e-6, not of
norms and biases, which LARS leaves alone, too; a cosine after 10 epochs; momentum 0.99 to 1, temperature 0.2; a linear
classifier beside it at the same rate; half precision. Not from it, but from memory of its code: BatchNorm without
affine parameters behind the projector, none behind the predictor. Left out: BatchNorm over several GPUs, as it ran on
one. openmix has not run it yet, so it claims no figure.
"""

_base_ = ["../../_base_/datasets/cifar10_views_moco.py", "../../_base_/runtime_selfsup.py"]
train_dataloader = dict(
    batch_size=256,
    pipeline=[
        dict(
            type="Views",
            views=[
                [
                    dict(type="RandomResizedCrop", size=32, scale=[0.08, 1.0]),
                    dict(
                        type="RandomApply",
                        transforms=[dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)],
                        p=0.8,
                    ),
                    dict(type="RandomGrayscale", p=0.2),
                    dict(type="RandomHorizontalFlip"),
                ],
                [
                    dict(type="RandomResizedCrop", size=32, scale=[0.08, 1.0]),
                    dict(
                        type="RandomApply",
                        transforms=[dict(type="ColorJitter", brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)],
                        p=0.8,
                    ),
                    dict(type="RandomGrayscale", p=0.2),
                    dict(type="RandomSolarize", threshold=128, p=0.2),
                    dict(type="RandomHorizontalFlip"),
                ],
            ],
        )
    ],
)
model = dict(
    type="MoCoV3",
    backbone=dict(type="ResNet_CIFAR", depth=18),
    probe=dict(type="ClsHead", num_classes=10),
    projector=dict(type="ProjectionMLP", channels=[4096, 256], norm="all"),
    predictor=dict(type="ProjectionMLP", channels=[4096, 256]),
    momentum=0.99,
    momentum_end=1.0,
    temperature=0.2,
)
optim_wrapper = dict(
    optimizer=dict(type="Lars", lr=0.3, momentum=0.9, weight_decay=1e-6, trust_coeff=0.02, trust_clip=True),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"probe.": dict(decay_mult=0.0)}),
    amp="bf16",
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-4, end=10, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", eta_min=0.0, begin=10, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=1000, val_interval=20)
