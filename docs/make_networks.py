#!/usr/bin/env python
"""Write ``docs/networks.md``, the page of all networks with what they cost: ``python docs/make_networks.py``.

Everything is counted on networks without numbers (torch's meta device), so it takes seconds and no memory.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from openmix.models import ClsHead
from openmix.registry import MODELS, build

__all__ = ["ROWS", "make_page"]

# backbone, classes, height and width of the image, where it comes from or which row of a table it is
ROWS: tuple[tuple[Mapping[str, Any], int, int, str], ...] = (
    ({"type": "ResNet_CIFAR", "depth": 18}, 10, 32, "OpenMixup's CIFAR benchmarks"),
    ({"type": "ResNeXt_CIFAR", "depth": 50}, 10, 32, "OpenMixup's CIFAR benchmarks"),
    ({"type": "WideResNet", "depth": 28, "widen_factor": 8, "variant": "openmixup"}, 100, 32, "OpenMixup, CIFAR-100"),
    ({"type": "WideResNet", "depth": 28, "widen_factor": 10, "variant": "faa"}, 10, 32, "ResizeMix (its WRS28-10)"),
    ({"type": "WideResNet", "depth": 40, "widen_factor": 2, "variant": "faa"}, 10, 32, "ResizeMix's code"),
    ({"type": "WideResNet", "depth": 28, "widen_factor": 10, "variant": "paper"}, 10, 32, "the authors' wide ResNet"),
    ({"type": "ShakeShake", "depth": 26, "width": 32}, 10, 32, "ResizeMix's code"),
    ({"type": "ShakeShake", "depth": 26, "width": 64}, 10, 32, "ResizeMix's code"),
    ({"type": "ShakeShake", "depth": 26, "width": 96}, 10, 32, "ResizeMix (its SS-2x96d)"),
    ({"type": "ShakeShake", "depth": 26, "width": 112}, 10, 32, "ResizeMix's code"),
    ({"type": "ShakeShakeNeXt"}, 10, 32, "ResizeMix's code (2x96d_next)"),
    ({"type": "PreActResNet", "depth": 18}, 100, 32, "R-Mix, Puzzle Mix, Co-Mixup"),
    ({"type": "PreActResNet", "depth": 18, "stride": 2}, 200, 64, "Puzzle Mix, Tiny-ImageNet"),
    ({"type": "WideResNet", "depth": 16, "widen_factor": 8, "variant": "rmix"}, 100, 32, "R-Mix"),
    ({"type": "WideResNet", "depth": 28, "widen_factor": 10, "variant": "rmix"}, 100, 32, "R-Mix"),
    ({"type": "ResNeXt29_4_24"}, 100, 32, "R-Mix"),
    (
        {"type": "PyramidNet", "depth": 272, "alpha": 200, "bottleneck": True},
        10,
        32,
        "with ShakeDrop, arXiv:1802.02375",
    ),
    ({"type": "DenseNet", "depth": 100}, 10, 32, "DenseNet-BC-100, growth rate 12"),
    ({"type": "DenseNet", "depth": 121, "stem": "imagenet"}, 1000, 224, "torchvision's DenseNet-121"),
    ({"type": "VGG", "depth": 16}, 10, 32, "for small images, one linear layer"),
    ({"type": "MobileNetV2"}, 10, 32, "for small images"),
    ({"type": "ConvNet"}, 10, 32, "openmix's own, for CPUs"),
    ({"type": "ResNet", "depth": 50}, 1000, 224, "ResizeMix, R-Mix, CropMix, OpenMixup"),
    ({"type": "ResNet", "depth": 101}, 1000, 224, "ResizeMix, OpenMixup"),
    ({"type": "ResNet", "depth": 200}, 1000, 224, "ResizeMix's code"),
    ({"type": "ResNeXt", "depth": 101}, 1000, 224, "OpenMixup"),
    ({"type": "TimmBackbone", "name": "deit_small_patch16_224"}, 1000, 224, "OpenMixup's DeiT-S"),
    ({"type": "TimmBackbone", "name": "swin_tiny_patch4_window7_224"}, 1000, 224, "OpenMixup's Swin-T"),
    ({"type": "TimmBackbone", "name": "convnext_tiny"}, 1000, 224, "OpenMixup's ConvNeXt-T"),
)

INTRO = """\
<!-- Made by docs/make_networks.py, which counts: change that, and run it. -->
# Networks

A backbone maps images to the maps of its stages, the last one last, and has no classifier; `ClsMixupHead` adds it.
Every stage is a module of its own whose name is in `stage_names`, so that Manifold Mixup and others mix there:
`layer1`, `layer2`, ... in all networks that are written here, timm's own names below `net.` in timm's.
`network(images, upto=2)` returns the first two maps alone, and computes nothing behind them. Parameters and
multiply-adds (one image; convolutions and matrices) include the classifier.

`variant='faa'` is the wide ResNet of fast-autoaugment, which ResizeMix uses; `rmix` and `openmixup` are theirs, `paper`
the authors' own. The docstring of each network says what it does otherwise than its paper.

| backbone | classes | image | parameters | multiply-adds | channels of its maps | used by |
|---|---|---|---|---|---|---|
"""

OUTRO = """
`TimmBackbone` takes any name of `timm.list_models()`, with `pretrained=True` timm's weights; for small images
`img_size=32, model_args=dict(patch_size=4)` where the network has patches. Weights of other programs: see
[migrating.md](migrating.md).

## Every backbone

"""


def count(backbone: Mapping[str, Any], classes: int, size: int) -> tuple[int, int, tuple[int, ...]]:
    """Return parameters, multiply-adds and channels of a network with a linear classifier."""
    with torch.device("meta"):
        network = build(backbone, MODELS).eval()
        head = ClsHead(classes, network.out_channels[-1])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            head(network(torch.empty(1, 3, size, size))[-1].mean((2, 3)))
    parameters = sum(p.numel() for module in (network, head) for p in module.parameters())
    return parameters, counter.get_total_flops() // 2, tuple(network.out_channels)


def spell(backbone: Mapping[str, Any]) -> str:
    """Return a backbone as a config has it."""
    return f"`dict({', '.join(f'{key}={value!r}' for key, value in backbone.items())})`"


def make_page() -> str:
    """Return the page's text."""
    lines = []
    for backbone, classes, size, use in ROWS:
        parameters, macs, channels = count(backbone, classes, size)
        cells = (
            spell(backbone),
            classes,
            size,
            f"{parameters:,}",
            f"{macs / 1e6:,.1f} M",
            ", ".join(map(str, channels)),
            use,
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |\n")
    kinds = sorted({str(backbone["type"]) for backbone, *_ in ROWS})
    docs = {kind: (inspect.getdoc(MODELS.get(kind)) or "").split("\n")[0] for kind in kinds}
    return INTRO + "".join(lines) + OUTRO + "".join(f"- `{kind}`: {doc}\n" for kind, doc in docs.items())


if __name__ == "__main__":
    (Path(__file__).parent / "networks.md").write_text(make_page())
