"""The small vision transformer of vit_micro_cifar10_mae.py fine-tuned on CIFAR-10, 3 epochs on a CPU.

For another checkpoint: --cfg-options load_from=FILE. The layers' rates shrink by 0.75 a block towards the images: 0.65
is MAE's for 12 blocks. Expect what docs/selfsup.md says; nobody has published a figure for this network.
"""

_base_ = "./vit_micro_cifar10_scratch.py"
optim_wrapper = dict(paramwise_cfg=dict(layer_decay=0.75))
load_from = "work_dirs/vit_micro_cifar10_mae/checkpoints/last.pth"
