"""ResNet-18 on CIFAR-10 with AttentiveMix+ (alpha 2), a row of OpenMixup's CIFAR-10 benchmark.

The guide is timm's ResNet-18 with ImageNet's weights, which sees the images at 224x224, as there. Where they cannot be
fetched, name a file: guide=dict(..., checkpoint="FILE"), with pretrained=False for the backbone.
Published top-1 for 200, 400, 800, 1200 epochs: 96.21, 96.45, 96.63, 96.49
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(
    mix_mode="attentivemix",
    alpha=2.0,
    mix_args=dict(attentivemix=dict(preset="openmixup")),
    guide=dict(type="FrozenGuide", backbone=dict(type="TimmBackbone", name="resnet18", pretrained=True), size=224),
)
