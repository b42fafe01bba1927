"""What every backbone promises, over all that there are."""

import inspect

import pytest
import torch
from torch import nn

from openmix.models import backbones

# the arguments of a small one, where the defaults are large
SMALL = {
    "ConvNet": {"widths": (4, 8, 8)},
    "DenseNet": {"depth": 22, "growth_rate": 4},
    "MobileNetV2": {"width_mult": 0.25},
    "ResNeXt": {"depth": 50, "groups": 2},
    "ResNeXt_CIFAR": {"depth": 50, "groups": 2},
    "PyramidNet": {"depth": 14, "alpha": 12, "shakedrop": 0.5},
    "ResNet": {"depth": 18},
    "ShakeShake": {"depth": 8, "width": 8},
    "ShakeShakeNeXt": {"depth": 11, "width": 2, "cardinality": 2},
    "TimmBackbone": {"name": "test_resnet", "model_args": {"output_stride": 8}},
    "VGG": {"depth": 11},
    "WideResNet": {"depth": 10, "widen_factor": 1},
}

ALL = backbones.__all__


def build(name: str, **arguments):
    return getattr(backbones, name)(**SMALL.get(name, {}), **arguments)


def shapes(network: nn.Module, *size: int) -> list[tuple[int, ...]]:
    with torch.device("meta"):
        return [tuple(f.shape) for f in network.to("meta")(torch.empty(size))]


@pytest.mark.parametrize("name", ALL)
def test_forward_returns_a_tuple_of_maps_that_it_names(name):
    network = build(name)
    features = network.to("meta")(torch.empty(2, 3, 32, 32, device="meta"))
    assert isinstance(features, tuple)
    assert len(features) == len(network.stage_names) == len(network.out_channels)
    assert [f.ndim for f in features] == [4] * len(features)
    assert tuple(f.shape[1] for f in features) == tuple(network.out_channels)


@pytest.mark.parametrize("name", ALL)
def test_stage_names_are_modules_whose_output_is_the_map(name):
    network = build(name).eval()
    outputs = {}
    for stage in network.stage_names:
        network.get_submodule(stage).register_forward_hook(lambda m, a, out, stage=stage: outputs.update({stage: out}))
    features = network(torch.rand(1, 3, 16, 16))
    assert list(outputs) == list(network.stage_names), "in this order"
    *stages, last = network.stage_names
    assert all(torch.equal(outputs[s], f) for s, f in zip(stages, features, strict=False))
    assert torch.equal(network.finish(outputs[last]), features[-1])


@pytest.mark.parametrize("name", ALL)
def test_what_a_hook_changes_the_next_stage_sees(name):
    """The network runs its stages one after the other, so that mixing at one reaches all later ones."""
    network = build(name).eval()
    images = torch.rand(1, 3, 16, 16)
    plain = network(images)
    handle = network.get_submodule(network.stage_names[1]).register_forward_hook(lambda m, a, out: out * 2 + 1)
    changed = network(images)
    handle.remove()
    assert torch.equal(changed[0], plain[0])
    assert torch.equal(changed[1], plain[1] * 2 + 1)
    assert all(not torch.equal(c, p) for c, p in zip(changed[2:], plain[2:], strict=True))


def state_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {key: t.clone() for key, t in network.state_dict().items()}


@pytest.mark.parametrize("name", ALL)
def test_the_first_maps_alone(name):
    """In training: bit for bit those of the whole network, drawn noise included; nothing behind them runs."""
    network = build(name)
    images = torch.rand(2, 3, 16, 16)
    stages = [network.get_submodule(stage) for stage in network.stage_names]
    start = state_of(network)
    torch.manual_seed(1)
    whole = network(images)
    after = state_of(network)
    ran = []
    for module in network.modules():
        module.register_forward_hook(lambda m, a, out: ran.append(m))
    for upto in range(1, len(stages) + 1):
        network.load_state_dict(start)
        ran.clear()
        torch.manual_seed(1)
        maps = network(images, upto=upto)
        assert isinstance(maps, tuple)
        assert len(maps) == upto
        assert all(torch.equal(m, w) for m, w in zip(maps, whole, strict=False))
        assert [m for m in ran if m in stages] == stages[:upto]
        moved = {key for key, t in network.state_dict().items() if not torch.equal(t, start[key])}
        assert all(torch.equal(network.state_dict()[key], after[key]) for key in moved)
        if upto < len(stages):
            assert ran[-2:] == [stages[upto - 1], network]
            assert not [key for key in moved if key.startswith(tuple(network.stage_names[upto:]))]
        else:
            assert moved == {key for key, t in after.items() if not torch.equal(t, start[key])}


@pytest.mark.parametrize("upto", [0, -1, 9, 1.0, True, "1"])
@pytest.mark.parametrize("name", ALL)
def test_other_numbers_of_maps_are_refused(name, upto):
    network = build(name)
    numbers = ", ".join(str(i) for i in range(1, len(network.stage_names) + 1))
    with pytest.raises(ValueError, match=f"^upto must be one of {numbers}, got {upto!r}$"):
        network(torch.rand(2, 3, 16, 16), upto=upto)


@pytest.mark.parametrize("name", ALL)
def test_no_backbone_has_a_classifier(name):
    network = build(name)
    assert not any(isinstance(m, nn.Linear) for m in network.modules())
    assert not {"fc", "head", "classifier"} & {child for child, _ in network.named_children()}


@pytest.mark.parametrize("name", ALL)
def test_every_weight_serves_the_last_map(name):
    network = build(name)
    for p in network.parameters():  # zero-initialised ones let no gradient past
        nn.init.normal_(p, mean=1.0 if p.ndim == 1 else 0.0)
    network(torch.rand(2, 3, 16, 16))[-1].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", ALL)
def test_images_of_one_channel(name):
    """And the images are not changed by a module that works in place."""
    images = torch.rand(2, 1, 16, 16)
    before = images.clone()
    assert torch.isfinite(build(name, in_channels=1)(images)[-1]).all()
    assert torch.equal(images, before)


@pytest.mark.parametrize("channels", [0, -2, 3.0, "3", True])
@pytest.mark.parametrize("name", ALL)
def test_other_numbers_of_channels_are_refused(name, channels):
    with pytest.raises(ValueError, match=f"^in_channels must be an integer of at least 1, got {channels!r}$"):
        build(name, in_channels=channels)


@pytest.mark.parametrize("name", ALL)
def test_odd_sizes_and_a_single_image(name):
    network = build(name).eval()  # BatchNorm trains on no single number
    for size in [(1, 3, 16, 16), (2, 3, 33, 17), (2, 3, 8, 24)]:
        assert all(shape[0] == size[0] for shape in shapes(network, *size))


@pytest.mark.parametrize("name", ALL)
def test_every_argument_is_documented(name):
    network = getattr(backbones, name)
    doc = inspect.getdoc(network)
    assert all(f"{argument}:" in doc for argument in inspect.signature(network).parameters)
