# AdAutoMix as its authors train it on CIFAR. A config adds the network.
model = dict(
    type="AdAutoMixClassification",
    mix_block=dict(type="AdaptiveMask", lam_concat=False, upsampling="bilinear"),
    head=dict(type="ClsMixupHead"),
    mix_samples=3,
    alpha=1.0,
    mask_layer=-2,  # the last map but one: the third of a ResNet, the second of a WRN
    lam_margin=0.03,
    mixup_ratio=0.5,
    beta=0.3,
    adv_interval=2,
    momentum=0.999,
    momentum_end=0.999999,
    momentum_start=0.1,
)
