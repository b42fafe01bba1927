"""DenseNet, VGG and MobileNetV2: torchvision's features, cut into stages.

What torchvision calls ``features.NAME`` is ``first.NAME``, ``layerI.NAME`` or ``last.NAME`` here, with the same NAME,
so weights of torchvision fit after renaming.

The stem is that for ImageNet, which leaves a quarter of the image's height and width to ``layer1``, or that for small
images ('cifar'), which keeps all of it.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, get_args

import torchvision
from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from openmix.models.backbones.checks import check_drop_rate, check_one_of
from openmix.models.backbones.resnet import he_init
from openmix.models.backbones.staged import StagedNetwork
from openmix.ops.checks import check_choice, check_integer, check_positive

__all__ = ["VGG", "DenseNet", "MobileNetV2", "Stem"]

Stem = Literal["imagenet", "cifar"]

# depth: growth rate, layers of each block
DENSENETS = {
    121: (32, (6, 12, 24, 16)),
    161: (48, (6, 12, 36, 24)),
    169: (32, (6, 12, 32, 32)),
    201: (32, (6, 12, 48, 32)),
}
VGGS = {11: "A", 13: "B", 16: "D", 19: "E"}


class _Features(StagedNetwork):
    """A chain of modules, cut before the places ``cuts`` into ``first``, ``layer1``, ``layer2``, ... and ``last``."""

    def __init__(self, features: nn.Sequential, cuts: Sequence[int], out_channels: Sequence[int]) -> None:
        super().__init__()
        self.stage_names = tuple(f"layer{i}" for i in range(1, len(cuts)))
        self.out_channels = tuple(out_channels)
        children = list(features.named_children())
        names = ("first", *self.stage_names, "last")
        for name, (start, stop) in zip(names, pairwise((0, *cuts, len(children))), strict=True):
            self.add_module(name, nn.Sequential(OrderedDict(children[start:stop])))

    def stem(self, images: Tensor) -> Tensor:
        """Return what the first stage takes for images (B, C, H, W)."""
        return self.first(images)

    def finish(self, x: Tensor) -> Tensor:
        """Return what is pooled for the last stage's output."""
        return self.last(x)


class DenseNet(_Features):
    """DenseNet-BC (Huang et al., CVPR 2017), arXiv:1608.06993: each layer takes the maps of all earlier ones.

    Each layer is BatchNorm, ReLU, 1x1 convolution to 4 times the growth rate, BatchNorm, ReLU, 3x3 convolution; between
    the blocks BatchNorm, ReLU, a 1x1 convolution that halves the channels and a 2x2 average pool. A stage is such a
    transition and the block behind it; the last map is normalised and activated. No convolution has a bias; they start
    by He's rule (fan in). The stems are the authors': a 7x7 convolution of stride 2, BatchNorm, ReLU and a max-pool, or
    a 3x3 convolution alone.

    Args:
        depth: 121, 161, 169 or 201 for the ImageNet networks of four blocks; 6n + 4, such as 100, 190 or 250, for the
            CIFAR networks, three blocks of n layers.
        growth_rate: channels that each layer adds. Default 48 for depth 161, 12 for depths 6n + 4, and 32 for the other
            ones. The stem has twice as many.
        stem: 'cifar' (default) for images of 32 pixels or so, 'imagenet' for large ones.
        drop_rate: of dropout behind each layer, in [0, 1); the authors have 0.2 where images are not augmented. It
            draws from torch's default generator of the device. Default none.
        in_channels: of the images.

    Raises:
        ValueError: another depth or stem, a growth rate or in_channels below 1, a drop_rate out of range.

    >>> import torch
    >>> [tuple(f.shape) for f in DenseNet(40, growth_rate=12)(torch.rand(2, 3, 32, 32))]
    [(2, 96, 32, 32), (2, 120, 16, 16), (2, 132, 8, 8)]
    """

    def __init__(
        self,
        depth: int,
        growth_rate: int | None = None,
        stem: Stem = "cifar",
        drop_rate: float = 0.0,
        in_channels: int = 3,
    ) -> None:
        check_choice("stem", stem, get_args(Stem))
        check_drop_rate(drop_rate)
        check_integer("in_channels", in_channels, 1)
        default, layers = _densenet(depth)
        growth = default if growth_rate is None else growth_rate
        check_integer("growth_rate", growth, 1)
        features = torchvision.models.DenseNet(growth, layers, 2 * growth, drop_rate=drop_rate, num_classes=1).features
        if stem == "cifar":
            del features.norm0, features.relu0, features.pool0
            features.conv0 = nn.Conv2d(in_channels, 2 * growth, 3, padding=1, bias=False)
        else:
            features.conv0 = nn.Conv2d(in_channels, 2 * growth, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(features.conv0.weight)
        features.add_module("relu5", nn.ReLU(inplace=True))

        transitions = [f"transition{i}" for i in range(1, len(layers))]
        out_channels = [features.get_submodule(t).norm.num_features for t in transitions]
        names = [name for name, _ in features.named_children()]
        cuts = [names.index(name) for name in ("denseblock1", *transitions, "norm5")]
        super().__init__(features, cuts, [*out_channels, features.norm5.num_features])


def _densenet(depth: int) -> tuple[int, tuple[int, ...]]:
    """Return the default growth rate, and the layers of each block."""
    check_integer("depth", depth, 10)
    if depth in DENSENETS:
        return DENSENETS[depth]
    n, rest = divmod(depth - 4, 6)
    if rest:
        raise ValueError(f"depth must be one of {', '.join(map(str, DENSENETS))} or 6n + 4, got {depth}")
    return 12, (n, n, n)


class VGG(_Features):
    """The convolutions of VGG (Simonyan & Zisserman, ICLR 2015), arXiv:1409.1556, each with BatchNorm and ReLU.

    Five stages of 3x3 convolutions with biases, each stage closed by a 2x2 max-pool, so the last map has 1/32 of the
    image's height and width. As the CIFAR code bases have it, a linear classifier on the pooled map replaces the
    paper's three linear layers; ``TimmBackbone('vgg16_bn')`` has the first two of them. There is no stem to choose: the
    same network serves images of any size. Where a pool meets an odd height or width, the last row or column is pooled
    by itself, while torchvision leaves it out. Convolutions are initialised by He's rule (fan out).

    Args:
        depth: 11, 13, 16 or 19, counted with the three linear layers.
        in_channels: of the images.

    Raises:
        ValueError: another depth, or in_channels below 1.

    >>> import torch
    >>> [tuple(f.shape[2:]) for f in VGG(11)(torch.rand(2, 3, 32, 32))]
    [(16, 16), (8, 8), (4, 4), (2, 2), (1, 1)]
    """

    def __init__(self, depth: int = 16, in_channels: int = 3) -> None:
        check_one_of("depth", depth, VGGS)
        check_integer("in_channels", in_channels, 1)
        features = make_layers(cfgs[VGGS[depth]], batch_norm=True)
        features[0] = nn.Conv2d(in_channels, 64, 3, padding=1)
        he_init(features)
        ends = []
        for i, module in enumerate(features, 1):
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = True
                ends.append(i)
        super().__init__(features, [0, *ends], (64, 128, 256, 512, 512))


class MobileNetV2(_Features):
    """MobileNetV2 (Sandler et al., CVPR 2018), arXiv:1801.04381: inverted residuals with linear bottlenecks.

    Four stages, of 24, 32, 96 and 320 channels where width_mult is 1; a 1x1 convolution of the last map to 1280
    channels, with BatchNorm and ReLU6, is what is pooled. The stem for small images has stride 1, and so has the first
    stage. The dropout of 0.2 that torchvision has before its classifier is not part of it. Convolutions are initialised
    by He's rule (fan out).

    Args:
        width_mult: factor > 0 on the channels of all layers but the last, which is never narrowed; rounded to multiples
            of 8.
        stem: 'cifar' (default) for images of 32 pixels or so, 'imagenet' for large ones.
        in_channels: of the images.

    Raises:
        ValueError: another stem, a width_mult that is not positive and finite, or in_channels below 1.

    >>> import torch
    >>> [tuple(f.shape) for f in MobileNetV2(0.5)(torch.rand(2, 3, 32, 32))]
    [(2, 16, 32, 32), (2, 16, 16, 16), (2, 48, 8, 8), (2, 1280, 4, 4)]
    """

    def __init__(self, width_mult: float = 1.0, stem: Stem = "cifar", in_channels: int = 3) -> None:
        check_positive("width_mult", width_mult)
        check_choice("stem", stem, get_args(Stem))
        check_integer("in_channels", in_channels, 1)
        stride = 1 if stem == "cifar" else 2
        rows = [  # expansion, channels, blocks, stride of the first: the paper's table 2
            [1, 16, 1, 1],
            [6, 24, 2, stride],
            [6, 32, 3, 2],
            [6, 64, 4, 2],
            [6, 96, 3, 1],
            [6, 160, 3, 2],
            [6, 320, 1, 1],
        ]
        net = torchvision.models.MobileNetV2(1, width_mult, inverted_residual_setting=rows)
        features = net.features
        width = features[0][0].out_channels
        features[0][0] = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        he_init(features[0])
        out_channels = [features[i].out_channels for i in (3, 6, 13)]
        super().__init__(features, (1, 4, 7, 14, 18), [*out_channels, net.last_channel])
