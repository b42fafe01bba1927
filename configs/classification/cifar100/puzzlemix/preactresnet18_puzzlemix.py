"""PreActResNet-18 on CIFAR-100 with Puzzle Mix under its authors' recipe: 1200 epochs, from a rate of 0.1.

The loss is theirs for CIFAR, binary cross entropy on softmax probabilities, averaged over the classes: its gradients
are 50 to 100 times smaller than cross entropy's.
Published top-1: 80.4 (the authors' README). No seeds, no spread. openmix has not run it yet, so it claims no figure.
"""

_base_ = [
    "../../../_base_/datasets/cifar100_rmix.py",
    "../../../_base_/models/preactresnet18_mixups.py",
    "../../../_base_/schedules/rmix_multistep.py",
    "../../../_base_/runtime.py",
]
model = dict(
    head=dict(num_classes=100, loss=dict(type="MixSoftmaxBinaryCrossEntropy")),
    mix_mode="puzzlemix",
)
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = dict(milestones=[400, 800])
train_cfg = dict(max_epochs=1200)
