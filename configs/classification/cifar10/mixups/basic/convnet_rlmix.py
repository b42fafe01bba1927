"""A small network on CIFAR-10 with RL-Mix; the agent learns every 100 steps, as this run has no more than 1,500.

Expect what docs/benchmarks/rlmix.md says of its reward; nobody has published a figure for this network.
"""

_base_ = [
    "../../../../_base_/datasets/cifar10.py",
    "../../../../_base_/schedules/sgd_cosine.py",
    "../../../../_base_/runtime.py",
]
model = dict(
    type="RLMixClassification",
    backbone=dict(type="ConvNet", widths=[32, 64, 128]),
    head=dict(type="ClsMixupHead", num_classes=10),
    batch_size=100,
    n_steps=100,
    minibatch=25,
    agent_lr=0.001,
)
train_cfg = dict(max_epochs=3)
