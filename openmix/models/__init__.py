"""Networks as plain modules: backbones, necks, heads, losses, guides, and mixing inside them."""

from openmix.models.adaptive_mask import AdaptiveMask
from openmix.models.attention_pooling import AttentionPooling
from openmix.models.backbones import (
    VGG,
    ConvNet,
    DenseNet,
    MobileNetV2,
    PreActResNet,
    PyramidNet,
    ResNet,
    ResNet_CIFAR,
    ResNeXt,
    ResNeXt29_4_24,
    ResNeXt_CIFAR,
    ShakeShake,
    ShakeShakeNeXt,
    TimmBackbone,
    WideResNet,
)
from openmix.models.guides import EMAGuide, FrozenGuide, SpectralResidual
from openmix.models.heads import ClsHead, ClsMixupHead
from openmix.models.losses import (
    DecoupledCrossEntropy,
    MixBinaryCrossEntropy,
    MixCrossEntropy,
    MixSoftmaxBinaryCrossEntropy,
)
from openmix.models.mae_decoder import MAEDecoder
from openmix.models.mix_block import PixelMixBlock
from openmix.models.necks import GlobalAveragePooling
from openmix.models.projectors import ProjectionMLP

__all__ = [
    "VGG", "AdaptiveMask", "AttentionPooling", "ClsHead", "ClsMixupHead", "ConvNet", "DecoupledCrossEntropy",
    "DenseNet", "EMAGuide", "FrozenGuide", "GlobalAveragePooling", "MAEDecoder", "MixBinaryCrossEntropy",
    "MixCrossEntropy", "MixSoftmaxBinaryCrossEntropy", "MobileNetV2", "PixelMixBlock", "PreActResNet", "ProjectionMLP",
    "PyramidNet", "ResNeXt", "ResNeXt29_4_24", "ResNeXt_CIFAR", "ResNet", "ResNet_CIFAR", "ShakeShake",
    "ShakeShakeNeXt", "SpectralResidual", "TimmBackbone", "WideResNet",
]  # fmt: skip
