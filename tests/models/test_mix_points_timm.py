"""Slots inside timm's networks, a ResNet, a ConvNeXt and a ViT, against the same networks taken apart."""

import copy
import pickle
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional as F

import openmix
from openmix.mixers import manifoldmix
from openmix.models.mix_points import MixPoints
from openmix.ops.box_plans import BoxPlan
from openmix.ops.plans import BlendPlan, FeatureMix

SCRIPT = Path(__file__).with_name("ranks_mix_points.py")
IMAGES = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 3, 1, 3])
PARTNER = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.25, 0.5, 0.9, 0.0]).view(4, 1, 1, 1)

STAGES = {
    "resnet18": ("layer1", "layer2", "layer3", "layer4"),
    "convnext_atto": ("stages.0", "stages.1", "stages.2", "stages.3"),
}
PLACES = [(name, stage) for name, stages in STAGES.items() for stage in stages]


def build(name: str, num_classes: int = 0, **arguments) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, pretrained=False, num_classes=num_classes, **arguments)


def stem(net: nn.Module, images: Tensor) -> Tensor:
    """Return what the first stage is given."""
    if hasattr(net, "conv1"):
        return net.maxpool(net.act1(net.bn1(net.conv1(images))))
    return net.stem(images)


def by_hand(net: nn.Module, images: Tensor, stages, at: str | None, mix: Callable[[Tensor], Tensor]) -> Tensor:
    """Run a network that has no slots stage by stage, and mix after one of them, or the images where that is None."""
    x = stem(net, mix(images) if at is None else images)
    for stage in stages:
        x = net.get_submodule(stage)(x)
        if stage == at:
            x = mix(x)
    if hasattr(net, "norm_pre"):
        x = net.norm_pre(x)
    return net.forward_head(x)


def loss_by_hand(net: nn.Module, images: Tensor, labels: Tensor, stages, mix: FeatureMix) -> Tensor:
    """Return lam times one plain cross entropy and 1 - lam times the other, with one lam for the batch."""
    lam, partner = mix.plan.masks[0, 0].item(), mix.plan.sources[:, 1].tolist()
    logits = by_hand(net, images, stages, mix.stage, lambda x: lam * x + (1 - lam) * x[partner])
    return lam * F.cross_entropy(logits, labels) + (1 - lam) * F.cross_entropy(logits, labels[partner])


def blend(x: Tensor) -> Tensor:
    return torch.stack([LAM[i, 0] * x[i] + (1 - LAM[i, 0]) * x[j] for i, j in enumerate(PARTNER.tolist())])


def with_slots(name: str, num_classes: int = 0) -> tuple[nn.Module, MixPoints, nn.Module]:
    """Return a network, its slots at all stages, and the same network without any."""
    net = build(name, num_classes).train()
    bare = copy.deepcopy(net)
    return net, MixPoints(net, STAGES[name]), bare


@pytest.mark.parametrize("name, stage", PLACES)
def test_a_blend_at_each_stage(name, stage):
    net, points, bare = with_slots(name)
    with points.armed(stage, BlendPlan(PARTNER, LAM)):
        mixed = net(IMAGES)
    torch.testing.assert_close(mixed, by_hand(bare, IMAGES, STAGES[name], stage, blend), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(mixed, bare(IMAGES), atol=1e-3)


@pytest.mark.parametrize("name, stage, size", [("resnet18", "layer2", 8), ("convnext_atto", "stages.1", 8)])
def test_boxes_of_a_map(name, stage, size):
    net, points, bare = with_slots(name)

    def paste(x):
        pasted = x.clone()
        for i, partner in enumerate(PARTNER.tolist()):
            pasted[i, :, 1:4, 2 : 5 + i] = x[partner, :, 1:4, 2 : 5 + i]
        return pasted

    boxes = torch.tensor([[1, 4, 2, 5 + i] for i in range(4)])
    with points.armed(stage, BoxPlan(PARTNER, boxes, (size, size))):
        mixed = net(IMAGES)
    torch.testing.assert_close(mixed, by_hand(bare, IMAGES, STAGES[name], stage, paste), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", STAGES)
def test_manifold_mixup_in_a_loop_of_ones_own(name):
    """Every layer, input included, with losses and gradients as from two plain cross entropies."""
    net, points, bare = with_slots(name, num_classes=5)
    seen = set()
    for layer in range(5):
        generator = torch.Generator().manual_seed(layer)
        mix = manifoldmix(LABELS, generator=generator, stages=points.stages, layers=[layer])
        seen.add(mix.stage)

        net.zero_grad()
        images = mix.plan.apply(IMAGES) if mix.stage is None else IMAGES
        with points.armed(mix.stage, mix.plan):
            loss = openmix.mix_cross_entropy(net(images), mix.target)
        loss.backward()

        bare.zero_grad()
        expected = loss_by_hand(bare, IMAGES, LABELS, points.stages, mix)
        expected.backward()
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
        for p, q in zip(net.parameters(), bare.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-2, atol=1e-4)
    assert seen == {None, *points.stages}


@pytest.mark.parametrize("name, stage", [("resnet18", "layer2.0"), ("convnext_atto", "stages.1.blocks.0")])
def test_a_block_whose_activations_are_not_kept(name, stage):
    """It runs once more during the backward pass, and has to mix again: the slot stays armed until that is done."""
    net = build(name).train()
    points, kept = MixPoints(net, [stage]), copy.deepcopy(net)
    kept_points = MixPoints(kept, [stage])
    net.set_grad_checkpointing(True)
    for network, slots in ((net, points), (kept, kept_points)):
        with slots.armed(stage, BlendPlan(PARTNER, LAM)):
            network(IMAGES).square().sum().backward()
    assert any(p.grad.abs().sum() > 0 for p in net.parameters())
    for p, q in zip(net.parameters(), kept.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5)


def test_a_stage_that_is_not_run_is_told():
    """timm's ResNets save activations block by block and do not call the stage: nothing would be mixed."""
    net, points, _ = with_slots("resnet18")
    net.train().set_grad_checkpointing(True)
    with (
        pytest.raises(RuntimeError, match="nothing was mixed at 'layer1'"),
        points.armed("layer1", BlendPlan(PARTNER, LAM)),
    ):
        net(IMAGES)
    with pytest.raises(ZeroDivisionError), points.armed("layer1", BlendPlan(PARTNER, LAM)):
        1 / 0  # noqa: B018  an error of the network's own is not covered up


@pytest.mark.parametrize("name", STAGES)
def test_the_state_dict_is_the_same(name):
    net, _, bare = with_slots(name)
    assert list(net.state_dict()) == list(bare.state_dict())
    net.load_state_dict(bare.state_dict())
    bare.load_state_dict(net.state_dict())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
@pytest.mark.parametrize("name", STAGES)
def test_a_copy_has_slots_of_its_own(name, duplicate):
    net, points, bare = with_slots(name)
    twin, twin_points = duplicate((net, points))
    stage = points.stages[1]
    expected = by_hand(bare, IMAGES, points.stages, stage, blend)
    with twin_points.armed(stage, BlendPlan(PARTNER, LAM)):
        torch.testing.assert_close(twin(IMAGES), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(net(IMAGES), bare(IMAGES))


def test_timms_average_of_weights_is_not_mixed():
    """ModelEmaV3 copies the network with its slots; those stay empty."""
    net, points, bare = with_slots("resnet18")
    ema = ModelEmaV3(net)
    with points.armed("layer2", BlendPlan(PARTNER, LAM)):
        net(IMAGES)
        ema.update(net)
        clean = copy.deepcopy(bare).eval()
        clean.load_state_dict(ema.module.state_dict())
        torch.testing.assert_close(ema(IMAGES), clean(IMAGES))


def test_a_network_that_yields_maps():
    """With ``features_only`` timm names its stages otherwise, and the slots by those names."""
    net = build("resnet18", features_only=True).eval()
    bare = copy.deepcopy(net)
    points = MixPoints(net, ["layer2"])
    with points.armed("layer2", BlendPlan(PARTNER, LAM)):
        maps = net(IMAGES)
    clean = bare(IMAGES)
    torch.testing.assert_close(maps[1], clean[1])
    torch.testing.assert_close(maps[2], blend(clean[2]))
    torch.testing.assert_close(maps[3], bare.layer3(blend(clean[2])), rtol=1e-4, atol=1e-5)


# tokens ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [0, 3, 5])
def test_a_constant_blend_of_a_vits_tokens(block):
    net = build("test_vit").train()
    bare = copy.deepcopy(net)
    images = F.interpolate(IMAGES, 160)
    points = MixPoints(net, [f"blocks.{i}" for i in range(len(net.blocks))])
    with points.armed(f"blocks.{block}", BlendPlan(PARTNER, LAM)):
        mixed = net(images)
    x = bare.norm_pre(bare._pos_embed(bare.patch_embed(images)))
    for i, layer in enumerate(bare.blocks):
        x = layer(x)
        if i == block:
            assert x.ndim == 3
            x = blend(x.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(mixed, bare.forward_head(bare.norm(x)), rtol=1e-4, atol=1e-5)


# processes ------------------------------------------------------------------------------------------------------------


def test_gradients_of_two_processes(tmp_path):
    """Those under DistributedDataParallel are the mean of what a network without slots has on either batch."""
    done = subprocess.run([sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    script = runpy.run_path(str(SCRIPT))
    net, stages = script["network"](), set()
    for step, (first, second) in enumerate(zip(one, two, strict=True)):
        net.zero_grad()
        for rank in (0, 1):
            images, labels, mix = script["batch_of"](rank, step)
            (loss_by_hand(net, images, labels, script["STAGES"], mix) / 2).backward()
            stages.add(mix.stage)
        for name, p in net.named_parameters():
            assert torch.equal(first[name], second[name])
            torch.testing.assert_close(first[name], p.grad, rtol=1e-3, atol=1e-5)
    assert stages == {None, *script["STAGES"]}
