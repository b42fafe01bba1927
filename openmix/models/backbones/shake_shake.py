"""Shake-Shake networks (Gastaldi, 2017), arXiv:1705.07485, of residual and of ResNeXt blocks."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openmix.models.backbones.checks import count_blocks
from openmix.models.backbones.staged import StagedNetwork
from openmix.models.shake import ShakeBackward, ShakeForward, ShakeLevel, ShakeShakeSum
from openmix.ops.checks import check_choice, check_integer

__all__ = ["ShakeShake", "ShakeShakeNeXt"]


class _Shortcut(nn.Module):
    """ReLU, then half of the channels from the map and half from the map moved by one pixel, then BatchNorm.

    At stride 2 the two 1x1 convolutions see different pixels. ``move`` is 1 to look at the pixel below and to the
    right, -1 to look at the one above and to the left; beyond the edges is 0.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, move: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels // 2, 1, stride, bias=False)
        self.conv2 = nn.Conv2d(in_channels, out_channels // 2, 1, stride, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.padding = (-move, move, -move, move)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return self.bn(torch.cat((self.conv1(x), self.conv2(F.pad(x, self.padding))), dim=1))


class _UnusedShortcut(_Shortcut):
    """A shortcut that passes its input on; its weights, which no gradient would reach, are frozen."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, stride=1)
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return x


class _ShakeBlock(nn.Module):
    """Two branches in a noisy sum, and a shortcut; nothing follows their sum."""

    def __init__(self, branch1: nn.Module, branch2: nn.Module, shortcut: nn.Module, shake: ShakeShakeSum) -> None:
        super().__init__()
        self.branch1 = branch1
        self.branch2 = branch2
        self.shortcut = shortcut
        self.shake = shake

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.shake(self.branch1(x), self.branch2(x))


class _ShakeNetwork(StagedNetwork):
    """A 3x3 convolution, three stages of blocks with strides 1, 2, 2, and a final ReLU."""

    stage_names = ("layer1", "layer2", "layer3")

    def _build(self, stem: nn.Module, channels: int, blocks: int, block: Callable[[int, int, int], nn.Module]) -> None:
        """Make the stages that :attr:`out_channels` asks for.

        Args:
            stem: what is before them.
            channels: of the stem's map.
            blocks: in each stage.
            block: makes one for channels in, channels out and stride.
        """
        self.c_in = stem
        for name, out, first_stride in zip(self.stage_names, self.out_channels, (1, 2, 2), strict=True):
            stage = [block(channels, out, first_stride), *(block(out, out, 1) for _ in range(blocks - 1))]
            self.add_module(name, nn.Sequential(*stage))
            channels = out
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # the stem's bias stays as torch begins it
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, images: Tensor) -> Tensor:
        """Return the stem's map, of the size of the images."""
        return self.c_in(images)

    def finish(self, x: Tensor) -> Tensor:
        """Return the last stage's map after a ReLU."""
        return F.relu(x)


class ShakeShake(_ShakeNetwork):
    """The residual network of Shake-Shake, for images of 32 pixels or so: "26 2x96d" is ``width=96``.

    A block adds a noisy sum (:class:`~openmix.models.shake.ShakeShakeSum`) of two branches, ReLU-conv3x3-BN-ReLU-
    conv3x3-BN, to its input, or to a shortcut of it where the number of channels changes. Convolutions are initialised
    by He's rule (fan out). Parameters have ResizeMix's names, the classifier apart, which begins as ``torch_no_bias``.
    The variants:

    - 'faa': Fast AutoAugment's and ResizeMix's. The stem has a bias and no BatchNorm; the shortcut's second path looks
      one pixel down and right. By a slip of theirs every block has the weights of a shortcut, used or not. The unused
      ones are here as well, frozen, so that checkpoints and counts of parameters agree: 0.58 M for 2x96d.
    - 'paper': the author's. The stem has BatchNorm and no bias; the second path looks up and left.

    Args:
        depth: 6 n + 2 for n blocks in each of the three stages; default 26.
        width: channels of the first stage, even; the second and third have 2 and 4 times as many. The paper has 32, 64,
            96 and 112; default 96, which ResizeMix's results are for.
        forward: 'even' or 'shake' (default): the branches' weights in training.
        backward: 'keep', 'even' or 'shake' (default): their gradients' weights.
        level: 'batch' or 'image' (default): what shares a draw.
        variant: whose network, see above; default 'faa'.
        in_channels: of the images.

    Raises:
        ValueError: another depth, an odd width, in_channels below 1, or an unknown forward, backward, level or variant.
    """

    def __init__(
        self,
        depth: int = 26,
        width: int = 96,
        forward: ShakeForward = "shake",
        backward: ShakeBackward = "shake",
        level: ShakeLevel = "image",
        variant: Literal["faa", "paper"] = "faa",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        blocks = count_blocks(depth, 6, 2)
        check_integer("width", width, 2)
        if width % 2:
            raise ValueError(f"width must be even, got {width}")
        check_choice("variant", variant, ("faa", "paper"))
        check_integer("in_channels", in_channels, 1)

        def block(channels: int, out: int, stride: int) -> nn.Module:
            if channels != out:
                shortcut = _Shortcut(channels, out, stride, move=1 if variant == "faa" else -1)
            else:
                shortcut = _UnusedShortcut(out) if variant == "faa" else nn.Identity()
            branches = _residual_branch(channels, out, stride), _residual_branch(channels, out, stride)
            return _ShakeBlock(*branches, shortcut, ShakeShakeSum(forward, backward, level))

        self.out_channels = (width, 2 * width, 4 * width)
        stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=variant == "faa")
        if variant == "paper":
            stem = nn.Sequential(stem, nn.BatchNorm2d(16))
        self._build(stem, 16, blocks, block)


class ShakeShakeNeXt(_ShakeNetwork):
    """The ResNeXt form of Shake-Shake, for images of 32 pixels or so; the defaults are ResizeMix's ``2x96d_next``.

    As :class:`ShakeShake`, with branches conv1x1-BN-ReLU-conv3x3-BN-ReLU-conv1x1-BN, whose 3x3 convolution is grouped,
    a stem of 64 channels and stages of 256, 512 and 1024. ResizeMix's name says 96, but its code rounds that down to a
    multiple of 64, and rounds depth 26 down to two blocks a stage, which makes 20 layers. The paper's
    ResNeXt-29 2x4x64d has ``depth=29``.

    Args:
        depth: 9 n + 2 for n blocks in each of the three stages, rounded down to that; default 26, for n = 2.
        width: channels of a group in the first stage; the second and third have 2 and 4 times as many. Default 64.
        cardinality: groups of the 3x3 convolution; default 4.
        forward: 'even' or 'shake' (default): the branches' weights in training.
        backward: 'keep', 'even' or 'shake' (default): their gradients' weights.
        level: 'batch' or 'image' (default): what shares a draw.
        in_channels: of the images.

    Raises:
        ValueError: no block; width, cardinality or in_channels below 1; an unknown forward, backward or level.
    """

    out_channels = (256, 512, 1024)

    def __init__(
        self,
        depth: int = 26,
        width: int = 64,
        cardinality: int = 4,
        forward: ShakeForward = "shake",
        backward: ShakeBackward = "shake",
        level: ShakeLevel = "image",
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_integer("depth", depth, 11)
        check_integer("width", width, 1)
        check_integer("cardinality", cardinality, 1)
        check_integer("in_channels", in_channels, 1)

        def branch(channels: int, out: int, stride: int) -> nn.Module:
            return _grouped_branch(channels, out // 256 * width * cardinality, out, stride, cardinality)

        def block(channels: int, out: int, stride: int) -> nn.Module:
            shortcut = nn.Identity() if channels == out else _Shortcut(channels, out, stride)
            branches = branch(channels, out, stride), branch(channels, out, stride)
            return _ShakeBlock(*branches, shortcut, ShakeShakeSum(forward, backward, level))

        self._build(nn.Conv2d(in_channels, 64, 3, padding=1), 64, (depth - 2) // 9, block)


def _residual_branch(channels: int, out: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.ReLU(),  # not in place: the other branch and the shortcut read the same input
        nn.Conv2d(channels, out, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
        nn.Conv2d(out, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
    )


def _grouped_branch(channels: int, mid: int, out: int, stride: int, groups: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, mid, 1, bias=False),
        nn.BatchNorm2d(mid),
        nn.ReLU(inplace=True),
        nn.Conv2d(mid, mid, 3, stride, padding=1, groups=groups, bias=False),
        nn.BatchNorm2d(mid),
        nn.ReLU(inplace=True),
        nn.Conv2d(mid, out, 1, bias=False),
        nn.BatchNorm2d(out),
    )
