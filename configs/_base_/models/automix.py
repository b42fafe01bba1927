# AutoMix as its authors train it on small images, where masks do not depend on lambda. A config adds the network.
model = dict(
    type="AutoMixClassification",
    mix_block=dict(type="PixelMixBlock", lam_concat=False),
    head=dict(type="ClsMixupHead"),
    alpha=2.0,
    mask_layer=-2,  # the last map but one: the third of a ResNet, the second of a WRN
    lam_margin=0.08,
    mask_loss=0.1,
    mask_margin=0.1,
    momentum=0.999,
    momentum_end=0.999999,
    momentum_start=0.1,
)
