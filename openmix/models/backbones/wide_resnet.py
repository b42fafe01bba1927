"""Wide residual networks (Zagoruyko & Komodakis, BMVC 2016), arXiv:1605.07146, as four code bases have them."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from openmix.models.backbones.checks import check_drop_rate, count_blocks
from openmix.models.backbones.resnet import he_init
from openmix.models.backbones.staged import StagedNetwork
from openmix.ops.checks import check_choice, check_integer

__all__ = ["VARIANTS", "Variant", "WideResNet"]


@dataclass(frozen=True)
class Variant:
    """What one code base's wide ResNet is, where they differ.

    Attributes:
        bias: whether the convolutions have biases.
        strided_conv: which of a block's two 3x3 convolutions has the stride.
        activated_shortcuts: the stages whose 1x1 shortcut takes the block's normalised and activated input; the
            shortcuts of the other stages take the raw input.
        drop_before_norm: whether dropout comes right after the first 3x3 convolution; otherwise right before the
            second.
        he_init: whether convolutions start by He's rule (fan out) and zero biases; otherwise as torch has it.
        slope: of the activation for negative values; 0 is ReLU.
        eps: of BatchNorm.
        momentum: of BatchNorm, as torch has it: the share of the new batch in the running statistics.
        last_momentum: of the BatchNorm behind the last stage.
    """

    bias: bool
    strided_conv: Literal[1, 2]
    activated_shortcuts: tuple[int, ...]
    drop_before_norm: bool
    he_init: bool
    slope: float = 0.0
    eps: float = 1e-5
    momentum: float = 0.1
    last_momentum: float = 0.1

    def conv(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
        """Return a convolution that keeps height and width but for its stride."""
        return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=self.bias)

    def activation(self) -> nn.Module:
        """Return the activation."""
        return nn.LeakyReLU(self.slope) if self.slope else nn.ReLU()


VARIANTS = {
    "paper": Variant(
        bias=False, strided_conv=1, activated_shortcuts=(1, 2, 3), drop_before_norm=False, he_init=True
    ),
    "faa": Variant(bias=True, strided_conv=2, activated_shortcuts=(), drop_before_norm=True, he_init=False),
    "rmix": Variant(
        bias=True, strided_conv=2, activated_shortcuts=(), drop_before_norm=True, he_init=False, last_momentum=0.9
    ),
    "openmixup": Variant(
        bias=True, strided_conv=1, activated_shortcuts=(1,), drop_before_norm=False, he_init=True,
        slope=0.1, eps=1e-3, momentum=1e-3, last_momentum=1e-3,
    ),
}  # fmt: skip


class _WideBlock(nn.Module):
    """BatchNorm, activation, 3x3 convolution, twice, and a shortcut past them: the input, or a 1x1 convolution."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, variant: Variant, activated: bool, drop_rate: float
    ) -> None:
        super().__init__()
        strides = (stride, 1) if variant.strided_conv == 1 else (1, stride)
        self.bn1 = nn.BatchNorm2d(in_channels, variant.eps, variant.momentum)
        self.conv1 = variant.conv(in_channels, out_channels, 3, strides[0])
        self.bn2 = nn.BatchNorm2d(out_channels, variant.eps, variant.momentum)
        self.conv2 = variant.conv(out_channels, out_channels, 3, strides[1])
        self.shortcut = None
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(variant.conv(in_channels, out_channels, 1, stride))
        self.activation = variant.activation()
        self.dropout = nn.Dropout(drop_rate)
        self.activated_shortcut = activated
        self.drop_before_norm = variant.drop_before_norm

    def forward(self, x: Tensor) -> Tensor:
        active = self.activation(self.bn1(x))
        if self.shortcut is not None:
            x = self.shortcut(active if self.activated_shortcut else x)
        out = self.conv1(active)
        if self.drop_before_norm:
            out = self.activation(self.bn2(self.dropout(out)))
        else:
            out = self.dropout(self.activation(self.bn2(out)))
        return self.conv2(out) + x


class WideResNet(StagedNetwork):
    """A residual network of few, wide stages with activation before convolution, for images of 32 pixels or so.

    A 3x3 convolution to 16 channels; three stages of ``(depth - 4) / 6`` blocks with 16, 32 and 64 times
    ``widen_factor`` channels, the second and third at half the height and width of the one before; BatchNorm and ReLU.
    Each block adds two 3x3 convolutions to its input, or to a 1x1 convolution of it where the shape changes. WRN-28-10
    is ``WideResNet(28, 10)``. The variants:

    - 'paper': the authors' code. No biases; the first 3x3 of a block has the stride; shortcuts take the normalised and
      activated input; dropout before the second 3x3; He's initialisation (fan out).
    - 'faa': ResizeMix's, which comes from Fast AutoAugment (Lim et al., NeurIPS 2019), arXiv:1905.00397. All
      convolutions have biases; the second 3x3 has the stride, so the first works at twice the height and width;
      shortcuts take the raw input; dropout before the second BatchNorm; torch's default initialisation.
    - 'rmix': R-Mix's, which comes from Co-Mixup: that, with a momentum of 0.9 in the last BatchNorm, whose running
      statistics are therefore nearly those of the last batch. R-Mix itself has no dropout.
    - 'openmixup': OpenMixup's. As 'paper', but with biases, LeakyReLU of slope 0.1, BatchNorm of momentum and eps
      0.001, and shortcuts that take the raw input in stages 2 and 3.

    Parameters have ResizeMix's and R-Mix's names, the classifier apart.

    Args:
        depth: 6n + 4 with n >= 1: n blocks a stage.
        widen_factor: width of the stages as a multiple of 16, 32, 64; at least 1.
        variant: whose network, see above; default the authors'.
        drop_rate: of the dropout in each block, in [0, 1); default none. It draws from torch's default generator of the
            device.
        in_channels: of the images.

    Raises:
        ValueError: another depth, an unknown variant, a width or rate out of range, or in_channels below 1.

    >>> import torch
    >>> [tuple(f.shape) for f in WideResNet(16, 2, 'rmix')(torch.rand(2, 3, 32, 32))]
    [(2, 32, 32, 32), (2, 64, 16, 16), (2, 128, 8, 8)]
    """

    stage_names = ("layer1", "layer2", "layer3")

    def __init__(
        self,
        depth: int,
        widen_factor: int,
        variant: Literal["paper", "faa", "rmix", "openmixup"] = "paper",
        drop_rate: float = 0.0,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        blocks = count_blocks(depth, 6, 4)
        check_integer("widen_factor", widen_factor, 1)
        check_choice("variant", variant, tuple(VARIANTS))
        check_drop_rate(drop_rate)
        check_integer("in_channels", in_channels, 1)
        kind = VARIANTS[variant]
        self.out_channels = tuple(widen_factor * width for width in (16, 32, 64))
        self.conv1 = kind.conv(in_channels, 16, 3)
        channels = 16
        for stage, (name, width) in enumerate(zip(self.stage_names, self.out_channels, strict=True), 1):
            strides = [1 if stage == 1 else 2] + [1] * (blocks - 1)
            activated = stage in kind.activated_shortcuts
            layers = [
                _WideBlock(width if i else channels, width, stride, kind, activated, drop_rate)
                for i, stride in enumerate(strides)
            ]
            self.add_module(name, nn.Sequential(*layers))
            channels = width
        self.bn1 = nn.BatchNorm2d(channels, kind.eps, kind.last_momentum)
        self.activation = kind.activation()
        if kind.he_init:
            he_init(self)

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's map, (B, 16, H, W)."""
        return self.conv1(images)

    def finish(self, x: Tensor) -> Tensor:
        """Return the last stage's map, normalised and activated."""
        return self.activation(self.bn1(x))
