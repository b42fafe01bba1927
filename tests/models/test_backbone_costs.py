"""Parameters and multiply-adds of networks as published, a linear classifier and biases included."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from openmix.models import (
    ClsHead,
    PreActResNet,
    ResNet,
    ResNet_CIFAR,
    ResNeXt,
    ResNeXt29_4_24,
    ResNeXt_CIFAR,
    WideResNet,
)


def cost(build: Callable[[], nn.Module], classes: int, size: int) -> tuple[int, int]:
    """Return the number of parameters, and of the multiply-adds for one image."""
    with torch.device("meta"):
        network = build().eval()
        head = ClsHead(classes, network.out_channels[-1])
        with FlopCounterMode(display=False) as counter:
            head(network(torch.empty(1, 3, size, size))[-1].mean((2, 3)))
    return sum(p.numel() for module in (network, head) for p in module.parameters()), counter.get_total_flops() // 2


# classes, height and width, parameters, multiply-adds in millions with the digits that are published
PUBLISHED = [
    # ResizeMix's networks
    (lambda: WideResNet(28, 10, "faa"), 10, 32, 36_489_290, "5951"),
    (lambda: WideResNet(28, 10, "faa"), 100, 32, 36_546_980, "5951"),
    (lambda: WideResNet(40, 2, "faa"), 10, 32, 2_246_474, "356"),
    (lambda: ResNet(50), 1000, 224, 25_557_032, "4089"),
    (lambda: ResNet(101), 1000, 224, 44_549_160, "7801"),
    (lambda: ResNet(200), 1000, 224, 64_673_832, "15007"),
    # R-Mix's
    (lambda: WideResNet(16, 8, "rmix"), 100, 32, 11_012_036, "2001"),
    (lambda: WideResNet(28, 10, "rmix"), 100, 32, 36_546_980, "5951"),
    (lambda: PreActResNet(18), 100, 32, 11_217_316, "555.5"),
    (lambda: PreActResNet(18, stride=2), 200, 64, 11_268_616, "555.5"),
    (lambda: ResNeXt29_4_24(), 100, 32, 4_937_252, "761"),
    # the authors' wide ResNet: 36.5 M and 5.2 G in their table
    (lambda: WideResNet(28, 10), 10, 32, 36_479_194, "5243"),
    # OpenMixup's: R-Mix's parameters, at the cost of the authors' strides
    (lambda: WideResNet(28, 10, "openmixup"), 100, 32, 36_546_980, "5243"),
    # torchvision's pages
    (lambda: ResNet(18), 1000, 224, 11_689_512, "1814"),
    (lambda: ResNet(34), 1000, 224, 21_797_672, "3664"),
    (lambda: ResNet(152), 1000, 224, 60_192_808, "11514"),
    (lambda: ResNeXt(50), 1000, 224, 25_028_904, "4230"),
    (lambda: ResNeXt(101, width_per_group=8), 1000, 224, 88_791_336, "16414"),
    # as CIFAR code bases print them
    (lambda: ResNet_CIFAR(18), 10, 32, 11_173_962, "555.4"),
    (lambda: ResNet_CIFAR(34), 100, 32, 21_328_292, "1159"),
    (lambda: ResNet_CIFAR(50), 100, 32, 23_705_252, "1298"),
    (lambda: ResNeXt_CIFAR(50), 100, 32, 23_177_124, "1344"),
]


@pytest.mark.parametrize(("build", "classes", "size", "parameters", "millions"), PUBLISHED)
def test_parameters_and_multiply_adds(build, classes, size, parameters, millions):
    counted, multiply_adds = cost(build, classes, size)
    assert counted == parameters
    assert f"{multiply_adds / 1e6:.{len(millions.partition('.')[2])}f}" == millions
