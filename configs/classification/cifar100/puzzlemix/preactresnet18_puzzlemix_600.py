"""PreActResNet-18 on CIFAR-100 with Puzzle Mix under its authors' shorter recipe: 600 epochs, from a rate of 0.2.

The loss is theirs for CIFAR, binary cross entropy on softmax probabilities, averaged over the classes: its gradients
are 50 to 100 times smaller than cross entropy's.
The authors publish no figure for this length, and openmix has not run it yet, so it claims none.
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
optim_wrapper = dict(optimizer=dict(lr=0.2))
param_scheduler = dict(milestones=[350, 500])
train_cfg = dict(max_epochs=600)
