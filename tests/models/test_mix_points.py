"""Slots inside a network, on networks of torch alone."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from openmix.models.mix_points import MixPoints
from openmix.ops.box_plans import BoxPlan
from openmix.ops.plans import BlendPlan

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PARTNER = torch.tensor([2, 0, 3, 1])
PLAN = BlendPlan(PARTNER, torch.full((4, 1, 1, 1), 0.25))


@pytest.fixture
def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Tanh(), nn.Conv2d(4, 5, 3)), nn.Conv2d(5, 6, 1))


def by_hand(network: nn.Sequential, stage: str) -> torch.Tensor:
    """Run the layers one by one and blend after the named one."""
    x = IMAGES
    for name in ("0", "1.0", "1.1", "2"):
        x = network.get_submodule(name).forward(x)
        if name == stage:
            x = 0.25 * x + 0.75 * torch.stack([x[2], x[0], x[3], x[1]])
    return x


@pytest.mark.parametrize("stage", ["0", "1.0", "1.1", "2"])
def test_the_output_of_the_stage_is_mixed(network, stage):
    points = MixPoints(network, ["0", "1.0", "1.1", "2"])
    assert points.stages == ("0", "1.0", "1.1", "2")
    with points.armed(stage, PLAN):
        torch.testing.assert_close(network(IMAGES), by_hand(network, stage))


def test_any_plan_that_fits_the_map(network):
    points = MixPoints(network, ["0"])
    boxes = torch.tensor([[0, 2, 1, 4]] * 4)
    with points.armed("0", BoxPlan(PARTNER, boxes, (6, 6))):
        mixed = network(IMAGES)
    x = network[0].forward(IMAGES)
    pasted = x.clone()
    for i, partner in enumerate(PARTNER.tolist()):
        pasted[i, :, 0:2, 1:4] = x[partner, :, 0:2, 1:4]
    torch.testing.assert_close(mixed, network[2](network[1](pasted)))


def test_a_stage_may_be_in_a_group(network):
    """Names reach into sub-modules, and mixing at a group is mixing at its last member."""
    points = MixPoints(network, ["1"])
    with points.armed("1", PLAN):
        torch.testing.assert_close(network(IMAGES), by_hand(network, "1.1"))


def test_a_network_of_somebody_elses():
    """torchvision's, taken apart; a stage may be a block within a layer."""
    torch.manual_seed(0)
    net = resnet18(num_classes=3).eval()
    points = MixPoints(net, ["layer2.0", "layer3"])
    with points.armed("layer2.0", PLAN):
        mixed = net(IMAGES)
    x = net.maxpool(net.relu(net.bn1(net.conv1(IMAGES))))
    x = net.layer2[0].forward(net.layer1(x))
    x = 0.25 * x + 0.75 * x[PARTNER]
    x = net.layer4(net.layer3(net.layer2[1](x)))
    torch.testing.assert_close(mixed, net.fc(x.mean((2, 3))))


def test_nothing_is_mixed_unless_armed(network):
    clean = network(IMAGES)
    points = MixPoints(network, ["0", "1"])
    assert torch.equal(network(IMAGES), clean)
    with points.armed(None, PLAN):
        assert torch.equal(network(IMAGES), clean)
    with points.armed("0", PLAN):
        assert not torch.allclose(network(IMAGES), clean)
    assert torch.equal(network(IMAGES), clean)


def test_a_slot_is_emptied_by_an_exception(network):
    clean = network(IMAGES)
    points = MixPoints(network, ["0"])
    with pytest.raises(KeyboardInterrupt), points.armed("0", PLAN):
        raise KeyboardInterrupt
    assert torch.equal(network(IMAGES), clean)


def test_two_slots_at_once_and_in_any_order(network):
    points = MixPoints(network, ["0", "2"])
    with points.armed("2", PLAN), points.armed("0", PLAN):
        both = network(IMAGES)
    half = by_hand(network, "0")
    torch.testing.assert_close(both, 0.25 * half + 0.75 * half[PARTNER])


def test_two_owners_of_one_network(network):
    one, two = MixPoints(network, ["0"]), MixPoints(network, ["0", "1"])
    with one.armed("0", PLAN):
        torch.testing.assert_close(network(IMAGES), by_hand(network, "0"))
    with two.armed("0", PLAN):
        torch.testing.assert_close(network(IMAGES), by_hand(network, "0"))


def test_the_state_dict_is_the_same(network):
    before = copy.deepcopy(network.state_dict())
    MixPoints(network, ["0", "1.1"])
    after = network.state_dict()
    assert list(after) == list(before)
    assert [type(m) for m in network.modules()].count(nn.Conv2d) == 3
    assert all(torch.equal(after[k], before[k]) for k in before)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_has_slots_of_its_own(network, duplicate):
    points = MixPoints(network, ["0"])
    twin, twin_points = duplicate((network, points))
    with twin_points.armed("0", PLAN):
        torch.testing.assert_close(twin(IMAGES), by_hand(network, "0"))
        assert not torch.allclose(network(IMAGES), by_hand(network, "0"))


def test_gradients_flow_to_both_images(network):
    points = MixPoints(network, ["1"])
    images = IMAGES.clone().requires_grad_()
    with points.armed("1", PLAN):
        network(images)[0].sum().backward()
    touched = [bool(g.abs().sum() > 0) for g in images.grad]
    assert touched == [True, False, True, False]


def test_unknown_stages(network):
    with pytest.raises(ValueError, match=r"Sequential has no stage 'layer1'; it has: 0, 1, 1\.0, 1\.1, 2"):
        MixPoints(network, ["0", "layer1"])
    assert not network[0]._forward_hooks, "nothing is left behind"


def test_a_stage_named_twice(network):
    with pytest.raises(ValueError, match="named twice"):
        MixPoints(network, ["0", "1", "0"])
    assert not any(m._forward_hooks for m in network.modules())


def test_arming_where_nothing_was_installed(network):
    """Silence would be training on unmixed features with mixed labels."""
    points = MixPoints(network, ["0"])
    with pytest.raises(ValueError, match="no mix point at '1'; there are: 0"), points.armed("1", PLAN):
        raise AssertionError


def test_a_plan_for_another_batch(network):
    points = MixPoints(network, ["0"])
    with pytest.raises(ValueError), points.armed("0", PLAN):
        network(IMAGES[:3])


# What must not pass in silence


def swap() -> BlendPlan:
    return BlendPlan(torch.tensor([1, 0]), torch.zeros(2, 1, 1, 1))


def test_a_point_is_armed_once():
    net = nn.Sequential(nn.Identity())
    points = MixPoints(net, ["0"])
    with points.armed("0", swap()):
        with pytest.raises(ValueError, match="armed already"), points.armed("0", swap()):
            pass
        net(torch.zeros(2, 1, 1, 1))


def test_a_copy_of_an_armed_network_is_not():
    net = nn.Sequential(nn.Identity())
    points, x = MixPoints(net, ["0"]), torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    with points.armed("0", swap()):
        twin = copy.deepcopy(net)
        assert torch.equal(twin(x), x) and torch.equal(net(x), x.flip(0))


def test_an_output_of_several_tensors_is_named():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    points = MixPoints(nn.Sequential(Two()), ["0"])
    with pytest.raises(TypeError, match="Two is a tuple"), points.armed("0", swap()):
        points_net = nn.Sequential(Two())
        points_net[0]._forward_hooks = {0: next(iter(points._points.values()))}
        points_net(torch.zeros(2, 1, 1, 1))


def test_tokens_are_places():
    """Of a transformer's (B, N, C) the N are places and the C channels, for transport too."""
    from openmix.ops.align import AlignPlan

    x = torch.rand(4, 9, 6)
    plan = AlignPlan(torch.tensor([1, 2, 3, 0]), torch.full((4, 1, 1, 1), 0.3), True, 0.1, 100)
    net = nn.Sequential(nn.Identity())
    with MixPoints(net, ["0"]).armed("0", plan):
        mixed = net(x)
    wanted = plan.apply(x.transpose(1, 2).reshape(4, 6, 3, 3)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(mixed, wanted)


@pytest.mark.parametrize("channels_last", [False, True])
def test_boxes_in_maps_of_either_layout(channels_last):
    """A box is a box of places, wherever the channels are."""
    net = nn.Sequential(nn.Identity())
    points = MixPoints(net, ["0"], channels_last)
    plan = BoxPlan(torch.tensor([1, 0]), torch.tensor([[1, 3, 0, 2], [0, 1, 2, 5]]), (4, 5))
    maps = torch.rand(2, 7, 4, 5)
    with points.armed("0", plan):
        out = net(maps.movedim(1, -1) if channels_last else maps)
    expected = maps.clone()
    expected[0, :, 1:3, 0:2], expected[1, :, 0:1, 2:5] = maps[1, :, 1:3, 0:2], maps[0, :, 0:1, 2:5]
    assert torch.equal(out.movedim(-1, 1) if channels_last else out, expected)
