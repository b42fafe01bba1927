"""PreActResNet-18 on CIFAR-100 with Co-Mixup, 300 epochs.

Published top-1: 80.19 at the last epoch, 80.36 at the best (a log in the authors' repository, one run).
The loss is theirs for CIFAR, binary cross entropy on softmax probabilities, averaged over the classes, and beside it
2 / 100 of the clean images' cross entropy, which is on the same scale. openmix has not run it yet, so it claims no
figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/models/preactresnet18_mixups.py",
    "../../../_base_/schedules/comixup_multistep.py",
    "../../../_base_/runtime.py",
]
model = dict(
    head=dict(num_classes=100, loss=dict(type="MixSoftmaxBinaryCrossEntropy")),
    mix_mode="comixup",
    clean_weight=2 / 100,
)
