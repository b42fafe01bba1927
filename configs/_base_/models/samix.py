# SAMix as its authors train it on CIFAR, with the paper's loss for the mix block. A config adds the network.
model = dict(
    type="SAMixClassification",
    mix_block=dict(
        type="PixelMixBlock",
        lam_concat=False,
        lam_mul=True,
        lam_mul_k=0.25,
        qk_concat=True,
        value_layers=2,
        lam_before_norm=False,
        value_dropout=0.0,
        upsampling="bilinear",
    ),
    head=dict(type="ClsMixupHead"),
    alpha=2.0,
    mask_layer=-2,  # the last map but one: the third of a ResNet, the second of a WRN
    lam_margin=0.08,
    mask_loss=0.1,
    mask_margin=0.1,
    mask_variance=2.0,
    eta=0.5,
    momentum=0.999,
    momentum_end=0.999999,
    momentum_start=0.1,
)
