"""The nearest known name for a name that is wrong."""

import pytest

from openmix.errors import did_you_mean

NETWORKS = ["ConvNet", "DenseNet", "ResNet", "ResNet_CIFAR", "ShakeShake", "ShakeShakeNeXt", "WideResNet", "VGG"]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("ShakShake", "ShakeShake"),  # one letter is missing, before the longest run that both have
        ("ShakeShak", "ShakeShake"),
        ("shakeshakenxt", "ShakeShakeNeXt"),
        ("ResnetCIFAR", "ResNet_CIFAR"),
        ("resnet", "ResNet"),
        ("WiedResNet", "WideResNet"),
        ("VGGG", "VGG"),
    ],
)
def test_nearest_name(name, nearest):
    assert did_you_mean(name, NETWORKS) == f"; did you mean '{nearest}'?"


@pytest.mark.parametrize("name", ["", "AlexNot", "Transformer", "keks", "depth", "MixUpClassification"])
def test_nothing_near(name):
    assert did_you_mean(name, NETWORKS) == f"; known: {', '.join(sorted(NETWORKS))}"
