"""TimmBackbone against timm's own networks, classifier and all, with the same weights."""

import copy
import functools
import inspect
import re
import subprocess
import sys

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.data.batch import Batch
from openmix.models.backbones.timm_backbone import TimmBackbone
from openmix.models.heads import ClsHead
from openmix.models.mix_points import MixPoints
from openmix.models.necks import GlobalAveragePooling
from openmix.ops.box_plans import BoxPlan
from openmix.ops.plans import BlendPlan
from openmix.registry import MODELS, build_task
from openmix.tasks import MixUpClassification
from openmix.tasks.context import StepContext

PARTNER = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.25, 0.5, 0.9, 0.0]).view(4, 1, 1, 1)

# name: image size, arguments, stages, and the maps that they yield
SMALL_VIT = {"patch_size": 4, "depth": 8, "embed_dim": 48, "num_heads": 2}
CASES = {
    "resnet18": (
        64, {}, ["layer1", "layer2", "layer3", "layer4"],
        [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)],
    ),
    "resnext50_32x4d": (
        64, {"layers": (1, 1, 1, 1)}, ["layer1", "layer2", "layer3", "layer4"],
        [(256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)],
    ),
    "regnetx_002": (
        64, {}, ["s1", "s2", "s3", "s4"],
        [(24, 16, 16), (56, 8, 8), (152, 4, 4), (368, 2, 2)],
    ),
    "densenet121": (
        64, {"block_config": (2, 2, 2, 2)},
        ["features.denseblock1", "features.denseblock2", "features.denseblock3", "features.norm5"],
        [(128, 16, 16), (128, 8, 8), (128, 4, 4), (128, 2, 2)],
    ),
    "efficientnet_b0": (  # a 1x1 convolution behind the last stage
        64, {}, ["blocks.1", "blocks.2", "blocks.4", "blocks.6"],
        [(24, 16, 16), (40, 8, 8), (112, 4, 4), (1280, 2, 2)],
    ),
    "mobilenetv2_100": (
        64, {}, ["blocks.1", "blocks.2", "blocks.4", "blocks.6"],
        [(24, 16, 16), (32, 8, 8), (96, 4, 4), (1280, 2, 2)],
    ),
    "mobilenetv3_small_100": (  # a 1x1 convolution behind the pooling
        64, {}, ["blocks.0", "blocks.1", "blocks.3", "blocks.5"],
        [(16, 16, 16), (24, 8, 8), (48, 4, 4), (1024, 1, 1)],
    ),
    "vgg11_bn": (  # two linear layers behind the last stage, as convolutions
        32, {}, ["features.13", "features.20", "features.27", "features.28"],
        [(256, 8, 8), (512, 4, 4), (512, 2, 2), (4096, 1, 1)],
    ),
    "convnext_atto": (  # a norm behind the pooling
        32, {"patch_size": 1, "depths": (1, 1, 1, 1)}, ["stages.0", "stages.1", "stages.2", "stages.3"],
        [(40, 32, 32), (80, 16, 16), (160, 8, 8), (320, 1, 1)],
    ),
    "vit_tiny_patch16_224": (
        32, SMALL_VIT, ["blocks.1", "blocks.3", "blocks.5", "blocks.7"],
        [(48, 8, 8), (48, 8, 8), (48, 8, 8), (48, 1, 1)],
    ),
    "deit_tiny_patch16_224": (
        (32, 48), SMALL_VIT, ["blocks.1", "blocks.3", "blocks.5", "blocks.7"],
        [(48, 8, 12), (48, 8, 12), (48, 8, 12), (48, 1, 1)],
    ),
    "vit_tiny_r_s16_p8_224": (  # a ResNet for an embedding
        64, {"depth": 4, "embed_dim": 48, "num_heads": 2}, ["blocks.0", "blocks.1", "blocks.2", "blocks.3"],
        [(48, 2, 2), (48, 2, 2), (48, 2, 2), (48, 1, 1)],
    ),
    "cait_xxs24_224": (
        32, SMALL_VIT, ["blocks.1", "blocks.3", "blocks.5", "blocks.7"],
        [(48, 8, 8), (48, 8, 8), (48, 8, 8), (48, 1, 1)],
    ),
    "beit_base_patch16_224": (  # a norm behind the mean of the tokens
        32, SMALL_VIT, ["blocks.1", "blocks.3", "blocks.5", "blocks.7"],
        [(48, 8, 8), (48, 8, 8), (48, 8, 8), (48, 1, 1)],
    ),
    "vit_base_patch16_siglip_gap_224": (  # the plain mean of the tokens
        (32, 48), SMALL_VIT, ["blocks.1", "blocks.3", "blocks.5", "blocks.7"],
        [(48, 8, 12)] * 4,
    ),
    "vit_base_patch16_siglip_224": (  # attention pooling
        32, SMALL_VIT, ["blocks.1", "blocks.3", "blocks.5", "blocks.7"],
        [(48, 8, 8), (48, 8, 8), (48, 8, 8), (48, 1, 1)],
    ),
    "swin_tiny_patch4_window7_224": (  # maps (B, h, w, C)
        (32, 64),
        {"patch_size": 2, "window_size": 4, "embed_dim": 24, "depths": (1, 2, 1, 1), "num_heads": (1, 2, 4, 8)},
        ["layers.0", "layers.1", "layers.2", "layers.3"],
        [(24, 16, 32), (48, 8, 16), (96, 4, 8), (192, 2, 4)],
    ),
    "levit_128s": (  # three stages, the plain mean of the tokens, an own norm in the classifier
        96, {"distilled": False}, ["stages.0", "stages.1", "stages.2"],
        [(128, 6, 6), (256, 3, 3), (384, 2, 2)],
    ),
}  # fmt: skip
OF_ONE_SIZE = ("vit", "deit", "cait", "beit", "swin", "levit")
HEAVY = ("vgg11_bn",)  # 119 M parameters
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in HEAVY else n for n in CASES]
SOME = ["resnet18", "densenet121", "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"]


def size_of(name: str) -> tuple[int, int]:
    size = CASES[name][0]
    return (size, size) if isinstance(size, int) else size


def build(name: str, **arguments) -> TimmBackbone:
    img_size = CASES[name][0] if name.startswith(OF_ONE_SIZE) else None
    return TimmBackbone(name, img_size=img_size, model_args=CASES[name][1], **arguments)


def build_timms(name: str, **arguments) -> nn.Module:
    img_size = {"img_size": size_of(name)} if name.startswith(OF_ONE_SIZE) else {}
    return timm.create_model(name, **img_size, **CASES[name][1], **arguments)


def images_of(name: str, channels: int = 3) -> Tensor:
    """Blots, not white noise, of which all pictures look alike once pooled."""
    blots = 2 * torch.randn(4, channels, 4, 4, generator=torch.Generator().manual_seed(1))
    return F.interpolate(blots, size_of(name), mode="bilinear")


def awaken(network: nn.Module, images: Tensor) -> None:
    """Move every parameter, as many start so small that they hide a whole block; see some images for statistics."""
    generator = torch.Generator().manual_seed(2)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    with torch.no_grad():
        for p in network.parameters():
            scale = 0.2 if p.ndim == 1 else 0.2 * p.std().item() + 0.01
            p.add_(scale * torch.randn(p.shape, generator=generator))
        for norm in norms:
            norm.momentum = 0.9
        network.train()(images)
        for norm in norms:
            norm.momentum = 0.1


@functools.cache
def pair(name: str) -> tuple[TimmBackbone, nn.Module]:
    """A backbone, and timm's network with a classifier for 5 classes and the same weights. Not to be changed."""
    torch.manual_seed(0)
    whole = build_timms(name, num_classes=5)
    awaken(whole, images_of(name))
    whole.eval()
    backbone = build(name).eval()
    missing, unexpected = backbone.net.load_state_dict(whole.state_dict(), strict=False)
    classifier = next(n for n, m in whole.named_modules() if m is whole.get_classifier())
    assert not missing
    assert all(key.startswith(f"{classifier}.") for key in unexpected), "all that timm has goes in, but the classifier"
    return backbone, whole


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_timms(name):
    backbone, whole = pair(name)
    with torch.no_grad():
        logits = whole.get_classifier()(GlobalAveragePooling()(backbone(images_of(name))))
        expected = whole(images_of(name))
    assert (expected - expected.mean(0)).abs().max() > 1e-3
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_stages_and_their_maps(name):
    _, _, stages, shapes = CASES[name]
    backbone, _ = pair(name)
    with torch.no_grad():
        maps = backbone(images_of(name))
    assert isinstance(maps, tuple)
    assert [tuple(m.shape[1:]) for m in maps] == shapes
    assert list(backbone.out_channels) == [channels for channels, *_ in shapes]
    assert backbone.stage_names == tuple(f"net.{stage}" for stage in stages)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_memory(name):
    """On the meta device, where configs are checked: the same shapes, and not a byte of weights."""
    with torch.device("meta"):
        backbone = build(name, pretrained=False)
        maps = backbone(torch.empty(2, 3, *size_of(name)))
    assert [tuple(m.shape) for m in maps] == [(2, *shape) for shape in CASES[name][3]]
    assert all(t.is_meta for t in [*backbone.parameters(), *backbone.buffers()])
    assert not any(m._forward_hooks for m in backbone.modules())


@pytest.mark.parametrize("name", NAMES)
def test_a_mix_at_each_stage(name):
    """It changes that map, all later ones and the logits, and nothing else; afterwards nothing is changed."""
    backbone, whole = pair(name)
    backbone = copy.deepcopy(backbone)
    points = MixPoints(backbone, backbone.stage_names, backbone.channels_last)
    images, plan = images_of(name), BlendPlan(PARTNER, LAM)
    with torch.no_grad():
        plain = backbone(images)
        for i, stage in enumerate(points.stages):
            with points.armed(stage, plan):
                mixed = backbone(images)
            assert all(torch.equal(m, p) for m, p in zip(mixed[:i], plain[:i], strict=True))
            assert not any(
                torch.allclose(m, p, rtol=1e-3, atol=1e-4) for m, p in zip(mixed[i:], plain[i:], strict=True)
            )
            if stage != points.stages[-1]:
                expected = LAM * plain[i] + (1 - LAM) * plain[i][PARTNER]
                torch.testing.assert_close(mixed[i], expected, rtol=1e-4, atol=1e-5)
            losses = [
                F.cross_entropy(whole.get_classifier()(m[-1].mean((2, 3))), torch.arange(4)) for m in (plain, mixed)
            ]
            assert losses[0] != losses[1]
        assert all(torch.equal(m, p) for m, p in zip(backbone(images), plain, strict=True))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnet18"])
def test_a_box_at_a_stage(name):
    """Of places, in the layout that the stage has."""
    backbone = copy.deepcopy(pair(name)[0])
    assert backbone.channels_last == name.startswith("swin")
    points = MixPoints(backbone, backbone.stage_names, backbone.channels_last)
    images = images_of(name)
    with torch.no_grad():
        plain = backbone(images)[0]
        height, width = plain.shape[2:]
        plan = BoxPlan(PARTNER, torch.tensor([[1, height, 0, width // 2]]).expand(len(images), 4), (height, width))
        with points.armed(points.stages[0], plan):
            mixed = backbone(images)[0]
    expected = plain.clone()
    expected[:, :, 1:, : width // 2] = plain[PARTNER][:, :, 1:, : width // 2]
    torch.testing.assert_close(mixed, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_learns(name):
    backbone = copy.deepcopy(pair(name)[0]).train()
    backbone(images_of(name))[-1].mean((2, 3)).square().sum().backward()
    for key, p in backbone.named_parameters():
        assert p.grad is not None, key
        assert torch.isfinite(p.grad).all(), key
        assert p.ndim == 1 or p.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", SOME)
def test_the_weights_are_timms_own(name):
    """By name, and by value: what the class runs to know the network draws nothing."""
    torch.manual_seed(3)
    state = build(name).state_dict()
    after = torch.rand(1)
    torch.manual_seed(3)
    expected = build_timms(name, num_classes=0).state_dict()
    assert torch.equal(after, torch.rand(1))
    assert list(state) == [f"net.{key}" for key in expected]
    assert all(torch.equal(t, expected[key.removeprefix("net.")]) for key, t in state.items())


@pytest.mark.parametrize("name", SOME)
def test_a_copy(name):
    backbone, _ = pair(name)
    twin = copy.deepcopy(backbone)
    expected = backbone(images_of(name))
    for a, b in zip(twin(images_of(name)), expected, strict=True):
        assert torch.equal(a, b)
    with torch.no_grad():
        for p in twin.parameters():
            p.zero_()
    assert torch.equal(backbone(images_of(name))[-1], expected[-1])


@pytest.mark.parametrize("name", SOME)
def test_channels_last_and_half_precision(name):
    backbone, _ = pair(name)
    images = images_of(name)
    with torch.no_grad():
        expected = backbone(images)
        last = copy.deepcopy(backbone).to(memory_format=torch.channels_last)
        for a, b in zip(last(images.to(memory_format=torch.channels_last)), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
        half = copy.deepcopy(backbone).to(torch.bfloat16)(images.to(torch.bfloat16))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = backbone(images)
    assert {m.dtype for m in half} == {torch.bfloat16}
    for maps in (half, mixed):
        assert all((a.float() - b).norm() < 0.1 * b.norm() for a, b in zip(maps, expected, strict=True))


@pytest.mark.parametrize("name", ["resnet18", pytest.param("vit_tiny_patch16_224", marks=pytest.mark.slow)])
def test_compiled(name):
    """Maps and gradients, with slots for mixing in place; one graph without breaks."""
    backbone = copy.deepcopy(pair(name)[0])
    points = MixPoints(backbone, backbone.stage_names)
    compiled = torch.compile(backbone, backend="aot_eager", fullgraph=True)
    grads = []
    for run in (backbone, compiled):
        backbone.zero_grad()
        maps = run(images_of(name))
        sum(m.square().mean() for m in maps).backward()
        grads.append([p.grad.clone() for p in backbone.parameters()])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-4)
    with points.armed(points.stages[1], BlendPlan(PARTNER, LAM)):
        expected, mixed = backbone(images_of(name)), compiled(images_of(name))
    for a, b, plain in zip(mixed[1:], expected[1:], maps[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(a, plain, rtol=1e-3, atol=1e-4)


FAMILIES = """
    coat_lite_tiny coatnext_nano_rw_224 convit_tiny convmixer_768_32 cpubone_b0_bfrobust crossvit_tiny_240 cspnext_l
    davit_tiny deit_tiny_distilled_patch16_224 dla46x_c dpn48b edgenext_xx_small efficientformer_l1 efficientformerv2_s0
    efficientvim_m1 efficientvit_b0 efficientvit_m0 ese_vovnet19b_dw fastvit_t8 fbnetc_100 focalnet_tiny_srf
    gcvit_xxtiny ghostnet_050 hardcorenas_a hgnetv2_b0 hiera_tiny_224 hieradet_small hrnet_w18_small inception_next_atto
    inception_v3 lcnet_035 lcnetv2_base legacy_xception levit_conv_128s lowformer_b0 mambaout_femto mixer_s32_224
    mobilevit_xxs mobilevitv2_050 mvitv2_tiny nest_tiny nextvit_small nf_ecaresnet26 pit_ti_224 poolformer_s12
    poolformerv2_s12 pvt_v2_b0 rdnet_tiny repghostnet_050 repvit_m0_9 res2net50d resmlp_12_224 resnest14d resnetv2_18
    rexnet_100 sedarknet21 sehalonet33ts selecsls42b sequencer2d_s seresnext26ts shvit_s1 skresnet18 starnet_s1
    swiftformer_xs swinv2_cr_tiny_ns_224 swinv2_tiny_window8_256 tiny_vit_5m_224 twins_svt_small visformer_tiny
    vit_relpos_small_patch16_224 vit_small_patch16_rope_224 volo_d1_224 xception41p xcit_nano_12_p16_224
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES.split())
def test_the_families_of_timm(name):
    """As published: what is pooled, and that what a stage's hook changes reaches that map and all later ones."""
    torch.manual_seed(0)
    backbone = TimmBackbone(name).eval()
    images = torch.rand(2, *backbone.net.pretrained_cfg["input_size"])
    with torch.no_grad():
        plain = backbone(images)
        expected = backbone.net.forward_head(backbone.net.forward_features(images), pre_logits=True)
        torch.testing.assert_close(plain[-1].mean((2, 3)), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())
        assert tuple(m.shape[1] for m in plain) == backbone.out_channels
        for upto in range(1, len(plain)):
            maps = backbone(images, upto=upto)
            assert len(maps) == upto
            assert all(torch.equal(m, p) for m, p in zip(maps, plain, strict=False))
        for i, stage in enumerate(backbone.stage_names):
            hook = backbone.get_submodule(stage).register_forward_hook(lambda m, a, out: out.flip(0) * 1.5 + 0.1)
            maps = backbone(images)
            hook.remove()
            assert [not torch.equal(a, b) for a, b in zip(maps, plain, strict=True)] == [
                j >= i for j in range(len(maps))
            ]
            if i < len(maps) - 1:
                torch.testing.assert_close(maps[i], plain[i].flip(0) * 1.5 + 0.1, rtol=1e-4, atol=1e-4)


# arguments ------------------------------------------------------------------------------------------------------------


def documented() -> list[dict]:
    text = inspect.getdoc(TimmBackbone)
    return [eval(c, {"dict": dict}) for c in re.findall(r"dict\(type=.*?\)\)", text, re.S)]


@pytest.mark.parametrize("cfg", documented(), ids=lambda cfg: cfg["name"])
def test_the_networks_for_32_pixels_of_the_docstring(cfg):
    with torch.device("meta"):
        maps = MODELS.build(cfg)(torch.empty(2, 3, 32, 32))
    first = {"vit": 8, "deit": 8, "swin": 16, "convnext": 32}
    assert tuple(maps[0].shape[2:]) == (first[cfg["name"].split("_")[0]],) * 2
    assert len(documented()) == len(first)


def test_training_by_a_config():
    cfg = {
        "type": "MixUpClassification",
        "backbone": {
            "type": "TimmBackbone", "name": "vit_tiny_patch16_224", "img_size": 32,
            "model_args": {"patch_size": 8, "depth": 4, "embed_dim": 48, "num_heads": 2},
        },
        "head": {"type": "ClsMixupHead", "num_classes": 10},
        "mix_mode": "manifoldmix",
        "mix_args": {"manifoldmix": {"layers": [2]}},
    }  # fmt: skip
    build_task(cfg, device="meta")
    task = build_task(cfg)
    assert isinstance(task, MixUpClassification)
    assert isinstance(task.head, ClsHead)
    assert task.head.fc.in_features == 48
    batch = Batch((torch.rand(4, 3, 32, 32),), torch.arange(4), torch.arange(4))
    task(batch, StepContext(seed=0, epoch=0, step=0, shard=0, progress=0.0))["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in task.parameters())


def test_rates():
    """A dropout before the classifier is part of what is pooled, in training only."""
    torch.manual_seed(0)
    backbone, plain = build("resnet18", drop_rate=0.5, drop_path_rate=0.2), build("resnet18").eval()
    assert backbone.net.layer4[1].drop_path.drop_prob == pytest.approx(0.2)
    plain.load_state_dict(backbone.state_dict())
    images = images_of("resnet18")
    pooled = backbone(images)[-1]
    assert pooled.shape == (4, 512, 1, 1)
    assert 0.4 < (pooled == 0).float().mean() < 0.6
    plain.load_state_dict(backbone.state_dict())  # running statistics
    torch.testing.assert_close(backbone.eval()(images)[-1], plain(images)[-1].mean((2, 3), keepdim=True))


def test_images_of_other_channels():
    backbone = build("vit_tiny_patch16_224", in_channels=5)
    assert torch.isfinite(backbone(images_of("vit_tiny_patch16_224", channels=5))[-1]).all()


@pytest.mark.parametrize("name", ["mvitv2_tiny", "coat_lite_tiny", "pit_ti_224", "nasnetalarge", "selecsls42"])
def test_networks_that_cannot_be_mixed_inside(name):
    """timm has no module there whose output is the map, and a name would pretend so."""
    with torch.device("meta"):
        backbone = TimmBackbone(name)
    assert backbone.stage_names == ()
    with pytest.raises(ValueError, match="names none"):
        MixUpClassification(backbone, ClsHead(5, backbone.out_channels[-1]), mix_mode="manifoldmix")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet_18"}, r"no network 'resnet_18'; did you mean .*resnet18"),
        ({"name": "vit_tiny"}, r"did you mean vit_tiny_"),
        ({"name": "hf-hub:timm/qqqq"}, "no network 'hf-hub:timm/qqqq'"),
        ({"name": "resnet18", "img_size": 32}, "resnet18 takes no img_size.*leave it out"),
        ({"name": "resnet18", "model_args": {"num_classes": 10}}, "must not hold num_classes: a backbone has no class"),
        ({"name": "resnet18", "model_args": {"in_chans": 1}}, "must not hold in_chans: it is the argument in_channels"),
        ({"name": "resnet18", "model_args": {"dropout": 0.1}}, "cannot build resnet18 with .*'dropout'"),
        ({"name": "resnet18", "model_args": {"global_pool": ""}}, r"pools to \(2, 512, 7, 7\).*global_pool"),
        ({"name": "vgg11_bn", "drop_path_rate": 0.1}, "cannot build vgg11_bn with .*drop_path_rate=0.1"),
        ({"name": "vit_tiny_patch16_224", "img_size": 4}, "vit_tiny_patch16_224|VisionTransformer"),
        ({"name": "vit_tiny_patch16_224", "img_size": [12]}, r"^img_size must be an integer .* got \[12\]"),
        ({"name": "vit_tiny_patch16_224", "img_size": (0, 32)}, r"^img_size must be an integer .* got \(0, 32\)"),
        ({"name": "vit_tiny_patch16_224", "img_size": "32"}, "^img_size must be an integer .* got '32'"),
        ({"name": "vit_tiny_patch16_224", "img_size": 32.0}, "^img_size must be an integer .* got 32.0"),
        ({"name": "resnet18", "drop_rate": 1.5}, r"^drop_rate must be a number in \[0, 1\], got 1.5"),
        ({"name": "resnet18", "drop_path_rate": -0.1}, r"^drop_path_rate must be a number in \[0, 1\], got -0.1"),
        ({"name": "resnet18", "pretrained": "no"}, "^pretrained must be True or False, got 'no'"),
        ({"name": "resnet18.nobody"}, "cannot build resnet18.nobody"),
        (
            {"name": "regnetx_080", "pretrained": True, "model_args": {"pretrained_cfg": {"url": ""}}},
            "no weights for reg",
        ),
    ],
)
def test_what_is_wrong_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(**arguments)


def test_a_network_without_maps(monkeypatch):
    monkeypatch.delattr(timm.models.ResNet, "forward_intermediates")
    with pytest.raises(ValueError, match="yields no intermediate maps of resnet18"):
        TimmBackbone("resnet18")


# weights --------------------------------------------------------------------------------------------------------------


def test_weights_of_a_file(tmp_path):
    """Fitted to images of one channel by timm, which sums over the colours."""
    source = timm.create_model("test_resnet")
    file = tmp_path / "weights.pth"
    torch.save(source.state_dict(), file)
    overlay = {"pretrained_cfg_overlay": {"file": str(file)}}
    backbone = TimmBackbone("test_resnet", pretrained=True, in_channels=1, model_args=overlay)
    state = source.state_dict()
    adapted = {k: t for k, t in backbone.net.state_dict().items() if t.shape != state[k].shape}
    assert len(adapted) == 1
    for key, t in backbone.net.state_dict().items():
        torch.testing.assert_close(t, state[key].sum(1, keepdim=True) if key in adapted else state[key])


def test_weights_without_a_network_to_load_them_from(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    arguments = {"name": "resnet18", "pretrained": True, "model_args": {"cache_dir": str(tmp_path)}}
    with pytest.raises(ValueError, match=r"weights of resnet18 could not be loaded .*\. They are downloaded") as error:
        TimmBackbone(**arguments)
    assert "\n" not in str(error.value)
    with torch.device("meta"):
        assert next(TimmBackbone(**arguments).parameters()).is_meta


def test_timm_is_imported_by_those_who_use_it():
    code = "import sys, openmix.models.backbones.timm_backbone; sys.exit('timm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
