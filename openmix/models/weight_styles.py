"""How code bases name what openmix names otherwise, as rules that rename.

``backbone.`` is cut off before; a classifier's names are :mod:`openmix.models.weights`' own affair.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

__all__ = ["STYLES", "Style"]


@dataclass(frozen=True)
class Style:
    """What to do with a code base's names.

    Attributes:
        name: whose networks these are.
        rules: patterns and what to put in their place, applied in order to names without ``backbone.``.
        suits: tells whether a backbone can be the one that is meant, where names and shapes do not.
    """

    name: str
    rules: tuple[tuple[str, str], ...] = ()
    suits: Callable[[nn.Module], bool] = lambda backbone: True

    def rename(self, key: str) -> str:
        """Return openmix's name, without ``backbone.``."""
        for pattern, replacement in self.rules:
            key = re.sub(pattern, replacement, key)
        return key


def _is_leaky(backbone: nn.Module) -> bool:
    return any(isinstance(m, nn.LeakyReLU) for m in backbone.modules())


_CIFAR_STAGES = tuple((rf"^conv{i + 1}_x\.", f"layer{i}.") for i in (1, 2, 3, 4))
_CIFAR_LAYERS = {0: "conv1", 1: "bn1", 3: "conv2", 4: "bn2", 6: "conv3", 7: "bn3"}

STYLES = (
    # torchvision, timm, OpenMixup's ResNets, ResizeMix, R-Mix's PreActResNet and WideResNet, openmix itself
    Style("plain"),
    Style("R-Mix's ResNeXt", ((r"^stage_(\d)\.", r"layer\1."),)),
    Style(
        "OpenMixup's WideResNet",  # of the same shapes as ResizeMix's and R-Mix's, which compute otherwise
        ((r"^block(\d)\.layer\.", r"layer\1."), (r"\.convShortcut\.", ".shortcut.0.")),
        suits=_is_leaky,
    ),
    Style(
        "CropMix's ResNet for CIFAR",
        (
            *((rf"\.residual_function\.{i}\.", f".{name}.") for i, name in _CIFAR_LAYERS.items()),
            (r"\.shortcut\.", ".downsample."),
            (r"^conv1\.0\.", "conv1."),
            (r"^conv1\.1\.", "bn1."),
            *_CIFAR_STAGES,
        ),
    ),
    Style("ResNets whose downsampling is called shortcut", ((r"\.shortcut\.", ".downsample."),)),
    Style("torchvision's chain of features", ((r"^features\.", ""),)),
    Style(
        "OpenMixup's VisionTransformer",
        (
            (r"^patch_embed\.projection\.", "patch_embed.proj."),
            (r"^ln1\.", "norm."),
            (r"^layers\.(\d+)\.", r"blocks.\1."),
            (r"\.ln([12])\.", r".norm\1."),
            (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
            (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
        ),
    ),
)
