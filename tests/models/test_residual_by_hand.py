"""WideResNet, PreActResNet and ResNeXt29_4_24 against forward passes written out over their state dicts."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models import PreActResNet, ResNeXt29_4_24, WideResNet

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class ByHand:
    """The steps of a forward pass over a state dict; in training, the running statistics it would leave behind."""

    def __init__(self, network: nn.Module, eps: float = 1e-5, slope: float = 0.0) -> None:
        self.weights = {k: v.clone() for k, v in network.state_dict().items()}
        self.training = network.training
        self.eps = eps
        self.slope = slope
        self.running: dict[str, Tensor] = {}

    def conv(self, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        weight = self.weights[f"{name}.weight"]
        bias = self.weights.get(f"{name}.bias")
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[-1] // 2, groups=groups)

    def norm(self, name: str, x: Tensor, momentum: float = 0.1) -> Tensor:
        weight, bias, mean, var, _ = (self.weights[f"{name}.{key}"] for key in NORM)
        if self.training:
            count = x.numel() / x.shape[1]
            batch_mean = x.mean((0, 2, 3))
            batch_var = (x - batch_mean[:, None, None]).square().mean((0, 2, 3))
            self.running[f"{name}.running_mean"] = mean + momentum * (batch_mean - mean)
            self.running[f"{name}.running_var"] = var + momentum * (batch_var * count / (count - 1) - var)
            mean, var = batch_mean, batch_var
        x = (x - mean[:, None, None]) / (var[:, None, None] + self.eps).sqrt()
        return x * weight[:, None, None] + bias[:, None, None]

    def act(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, self.slope * x)

    def has(self, name: str) -> bool:
        return f"{name}.weight" in self.weights


def wide_resnet(hand: ByHand, x: Tensor, blocks: int, variant: str) -> list[Tensor]:
    momentum = 0.001 if variant == "openmixup" else 0.1
    x = hand.conv("conv1", x)
    features = []
    for stage, block in itertools.product((1, 2, 3), range(blocks)):
        name = f"layer{stage}.{block}"
        stride = 2 if stage > 1 and block == 0 else 1
        first, second = (1, stride) if variant in ("faa", "rmix") else (stride, 1)
        active = hand.act(hand.norm(f"{name}.bn1", x, momentum))
        out = hand.conv(f"{name}.conv1", active, first)
        out = hand.act(hand.norm(f"{name}.bn2", out, momentum))
        out = hand.conv(f"{name}.conv2", out, second)
        if hand.has(f"{name}.shortcut.0"):
            preactivated = variant == "paper" or (variant == "openmixup" and stage == 1)
            x = hand.conv(f"{name}.shortcut.0", active if preactivated else x, stride)
        x = out + x
        if block == blocks - 1:
            features.append(x)
    last = {"rmix": 0.9, "openmixup": 0.001}.get(variant, 0.1)
    features[-1] = hand.act(hand.norm("bn1", x, last))
    return features


def preact_resnet(hand: ByHand, x: Tensor, layers: tuple[int, ...], convs: int, stride: int) -> list[Tensor]:
    x = hand.conv("conv1", x, stride)
    features = []
    for stage, count in enumerate(layers, 1):
        for block in range(count):
            name = f"layer{stage}.{block}"
            step = 2 if stage > 1 and block == 0 else 1
            out = x
            for i in range(1, convs + 1):
                out = hand.act(hand.norm(f"{name}.bn{i}", out))
                if i == 1 and hand.has(f"{name}.shortcut.0"):
                    x = hand.conv(f"{name}.shortcut.0", out, step)
                strided = i == (1 if convs == 2 else 2)
                out = hand.conv(f"{name}.conv{i}", out, step if strided else 1)
            x = out + x
        features.append(x)
    return features


def resnext29(hand: ByHand, x: Tensor) -> list[Tensor]:
    x = hand.act(hand.norm("bn_1", hand.conv("conv_1_3x3", x)))
    features = []
    for stage in (1, 2, 3):
        for block in range(3):
            name = f"layer{stage}.{block}"
            stride = 2 if stage > 1 and block == 0 else 1
            out = hand.act(hand.norm(f"{name}.bn_reduce", hand.conv(f"{name}.conv_reduce", x)))
            out = hand.act(hand.norm(f"{name}.bn", hand.conv(f"{name}.conv_conv", out, stride, groups=4)))
            out = hand.norm(f"{name}.bn_expand", hand.conv(f"{name}.conv_expand", out))
            if block == 0:
                x = hand.norm(f"{name}.downsample.1", hand.conv(f"{name}.downsample.0", x, stride))
            x = hand.act(out + x)
        features.append(x)
    return features


CASES = {
    **{
        f"wide-{depth}-{width}-{variant}": (
            lambda depth=depth, width=width, variant=variant: WideResNet(depth, width, variant),
            {"eps": 1e-3, "slope": 0.1} if variant == "openmixup" else {},
            lambda hand, x, depth=depth, variant=variant: wide_resnet(hand, x, (depth - 4) // 6, variant),
        )
        for depth, width in ((10, 1), (16, 2))
        for variant in ("paper", "faa", "rmix", "openmixup")
    },
    "preact-18": (lambda: PreActResNet(), {}, lambda hand, x: preact_resnet(hand, x, (2, 2, 2, 2), 2, 1)),
    "preact-50": (lambda: PreActResNet(50, stride=2), {}, lambda hand, x: preact_resnet(hand, x, (3, 4, 6, 3), 3, 2)),
    "resnext29": (lambda: ResNeXt29_4_24(), {}, resnext29),
}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", CASES)
def test_forward_by_hand(case, training):
    """In double precision: what differs is a mistake."""
    build, constants, by_hand = CASES[case]
    torch.manual_seed(0)
    network = build().double().train(training)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    hand = ByHand(network, **constants)
    images = torch.rand(3, 3, 18, 14, dtype=torch.float64)
    with torch.no_grad():
        features = network(images)
        expected = by_hand(hand, images)
    torch.testing.assert_close(list(features), expected)
    running = {k: v for k, v in network.state_dict().items() if "running" in k}
    assert len(hand.running) == (len(running) if training else 0)
    torch.testing.assert_close({k: running[k] for k in hand.running}, hand.running)


def names(convs: list[str], norms: list[str], bias: bool) -> set[str]:
    """The keys of a state dict of such convolutions and norms."""
    kinds = ("weight", "bias") if bias else ("weight",)
    return {f"{c}.{kind}" for c in convs for kind in kinds} | {f"{n}.{key}" for n in norms for key in NORM}


@pytest.mark.parametrize(("variant", "bias"), [("paper", False), ("faa", True), ("rmix", True), ("openmixup", True)])
def test_names_of_a_wide_resnets_weights_are_resizemixs_and_rmixs(variant, bias):
    with torch.device("meta"):
        network = WideResNet(28, 10, variant)
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(4)]
    convs = ["conv1", "layer1.0.shortcut.0", "layer2.0.shortcut.0", "layer3.0.shortcut.0"]
    convs += [f"{b}.conv{i}" for b in blocks for i in (1, 2)]
    norms = ["bn1"] + [f"{b}.bn{i}" for b in blocks for i in (1, 2)]
    assert set(network.state_dict()) == names(convs, norms, bias)


@pytest.mark.parametrize(
    ("depth", "layers", "convs"), [(18, (2, 2, 2, 2), 2), (34, (3, 4, 6, 3), 2), (152, (3, 8, 36, 3), 3)]
)
def test_names_of_a_preact_resnets_weights_are_rmixs(depth, layers, convs):
    with torch.device("meta"):
        network = PreActResNet(depth)
    blocks = [f"layer{stage}.{block}" for stage, count in enumerate(layers, 1) for block in range(count)]
    first = 1 if convs == 3 else 2  # the first stage of basic blocks changes no shape
    shortcuts = [f"layer{stage}.0.shortcut.0" for stage in range(first, 5)]
    numbers = range(1, convs + 1)
    expected = names(
        ["conv1", *shortcuts, *(f"{b}.conv{i}" for b in blocks for i in numbers)],
        [f"{b}.bn{i}" for b in blocks for i in numbers],
        bias=False,
    )
    assert set(network.state_dict()) == expected


def test_names_of_resnext29s_weights_are_rmixs_but_for_the_stages():
    with torch.device("meta"):
        state = ResNeXt29_4_24().state_dict()
    blocks = [f"stage_{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    first = [f"stage_{stage}.0.downsample" for stage in (1, 2, 3)]
    convs = [f"{b}.{conv}" for b in blocks for conv in ("conv_reduce", "conv_conv", "conv_expand")]
    norms = [f"{b}.{norm}" for b in blocks for norm in ("bn_reduce", "bn", "bn_expand")]
    expected = names(
        ["conv_1_3x3", *convs, *(f"{d}.0" for d in first)], ["bn_1", *norms, *(f"{d}.1" for d in first)], bias=False
    )
    assert {key.replace("layer", "stage_") for key in state} == expected
