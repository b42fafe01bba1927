"""The first maps of a network alone: what is not computed, and that whatever else holds of a forward holds of it."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from openmix.models import ConvNet, PreActResNet, ResNet_CIFAR, TimmBackbone, WideResNet
from openmix.models.mix_points import MixPoints
from openmix.ops.plans import BlendPlan

TIMMS = {
    "vit": ("test_vit", {"img_size": 32, "model_args": {"patch_size": 4}}),
    "deit": (
        "deit_tiny_distilled_patch16_224",
        {"img_size": 32, "model_args": {"patch_size": 4, "depth": 8, "embed_dim": 48, "num_heads": 2}},
    ),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {
            "img_size": 32,
            "model_args": {
                "patch_size": 2, "window_size": 4, "embed_dim": 24, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 4, 8),
            },
        },
    ),
    "convnext": ("test_convnext", {}),
    "resnet": ("test_resnet", {}),
    "efficientnet": ("test_efficientnet", {}),
}  # fmt: skip
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def build(family: str) -> TimmBackbone:
    torch.manual_seed(0)
    name, arguments = TIMMS[family]
    return TimmBackbone(name, **arguments)


def flops(network: nn.Module, upto: int | None) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(IMAGES, upto=upto)
    return counter.get_total_flops()


@pytest.mark.parametrize("family", TIMMS)
def test_families_of_timm(family):
    """The maps are equal, and no module runs behind the one whose output is the last of them."""
    network = build(family)
    start = {key: t.clone() for key, t in network.state_dict().items()}
    torch.manual_seed(1)  # Swin drops paths
    whole = network(IMAGES)
    ran = []
    for name, module in network.named_modules():
        module.register_forward_hook(lambda m, a, out, name=name: ran.append(name))
    for upto in range(1, len(whole) + 1):
        network.load_state_dict(start)
        ran.clear()
        torch.manual_seed(1)
        maps = network(IMAGES, upto=upto)
        assert isinstance(maps, tuple)
        assert len(maps) == upto
        assert all(torch.equal(m, w) for m, w in zip(maps, whole, strict=False))
        if upto < len(whole):
            assert ran[-2:] == [network.stage_names[upto - 1], ""]


@pytest.mark.parametrize("network", [ConvNet(), ResNet_CIFAR(18), PreActResNet(18)], ids=lambda n: type(n).__name__)
def test_operations(network):
    """Each stage's own come on top of those of the stages before it; with all of them, it is the whole network."""
    each: dict[str, int] = {}
    network.eval()
    x = network.stem(IMAGES)
    for stage in network.stage_names:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            x = network.get_submodule(stage)(x)
        each[stage] = counter.get_total_flops()
    counts = [flops(network, upto) for upto in range(1, len(each) + 1)]
    assert [b - a for a, b in pairwise(counts)] == list(each.values())[1:]
    assert counts[-1] == flops(network, None)


@pytest.mark.parametrize("family", TIMMS)
def test_operations_of_timms_networks(family):
    network = build(family).eval()
    counts = [flops(network, upto) for upto in (1, 2, 3, 4)]
    assert 0 < counts[0] < counts[1] < counts[2] < counts[3] == flops(network, None)


@pytest.mark.parametrize("network", [WideResNet(10, 1), build("vit")], ids=["WideResNet", "vit"])
def test_autocast_and_meta(network):
    network.eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert all(map(torch.equal, network(IMAGES, upto=2), network(IMAGES)))
    on_meta = copy.deepcopy(network).to("meta")
    maps = on_meta(IMAGES.to("meta"), upto=2)
    assert [m.shape for m in maps] == [m.shape for m in network(IMAGES)[:2]]


@pytest.mark.parametrize("network", [WideResNet(10, 1), build("resnet"), build("vit")], ids=["wrn", "resnet", "vit"])
def test_compiled(network):
    """One graph without breaks for each number of maps, and for all of them."""
    torch._dynamo.reset()
    network.eval()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    for upto in (2, None, 1, 3, 2):
        for a, b in zip(compiled(IMAGES, upto=upto), network(IMAGES, upto=upto), strict=True):
            torch.testing.assert_close(a, b)
    with pytest.raises(ValueError, match="upto must be one of"):
        network(IMAGES, upto=7)


@pytest.mark.parametrize("network", [WideResNet(10, 1), build("swin")], ids=["WideResNet", "swin"])
def test_a_mix_at_a_stage(network):
    """It is in the maps, and a stage that is not reached is not mixed without a word."""
    network.eval()
    points = MixPoints(network, network.stage_names, getattr(network, "channels_last", False))
    plan = BlendPlan(torch.tensor([1, 0]), torch.full((2, 1, 1, 1), 0.7))
    with torch.no_grad():
        with points.armed(points.stages[0], plan):
            whole = network(IMAGES)
        with points.armed(points.stages[0], plan):
            maps = network(IMAGES, upto=2)
        assert all(map(torch.equal, maps, whole))
        assert not torch.allclose(maps[1], network(IMAGES, upto=2)[1], rtol=1e-3)
        with pytest.raises(RuntimeError, match="nothing was mixed"), points.armed(points.stages[1], plan):
            network(IMAGES, upto=1)


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_saved_activations(family):
    """Of timm's networks: gradients are those of the network that keeps its activations."""
    network = build(family).eval()
    grads = []
    for saving in (False, True):
        network.net.set_grad_checkpointing(saving)
        network.zero_grad()
        network(IMAGES, upto=2)[1].square().mean().backward()
        grads.append({key: p.grad.clone() for key, p in network.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for key, grad in grads[0].items():
        torch.testing.assert_close(grads[1][key], grad, msg=key)
    names = tuple(network.stage_names[2:])
    assert not [key for key in grads[0] if key.startswith(names)]
