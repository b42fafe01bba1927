"""ViT-Tiny with patches of 2 pixels fine-tuned on CIFAR-10, 100 epochs: IcarusWizard/MAE's recipe.

Published top-1: 89.77 (its README), or 74.13 from scratch (vit_tiny_cifar10_scratch.py). All layers have one rate. For
another checkpoint: --cfg-options load_from=FILE. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./vit_tiny_cifar10_scratch.py"
load_from = "work_dirs/vit_tiny_cifar10_mae/checkpoints/last.pth"
