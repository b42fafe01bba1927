"""Attention and rollout of timm's transformers against matrices that timm itself writes down, block by block."""

import copy
import pickle

import pytest
import timm
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

from openmix.ops.attention import AttentionTap

SMALL = {"patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}
# class token alone, with a distillation token, with registers, registers and no class token, norms of queries and
# keys, patches that are not as many in height as in width
NETWORKS = {
    "vit": ("vit_tiny_patch16_224", {"img_size": 32}),
    "wide": ("vit_tiny_patch16_224", {"img_size": (16, 48)}),
    "distilled": ("deit_tiny_distilled_patch16_224", {"img_size": 32}),
    "registers": ("vit_tiny_patch16_224", {"img_size": 32, "reg_tokens": 4}),
    "averaged": ("vit_tiny_patch16_224", {"img_size": 32, "class_token": False, "global_pool": "avg", "reg_tokens": 2}),
    "normed": ("vit_tiny_patch16_224", {"img_size": 32, "qk_norm": True}),
    "any size": ("vit_tiny_patch16_224", {"img_size": 32, "dynamic_img_size": True}),
}
every_network = pytest.mark.parametrize("kind", NETWORKS)


def build(kind: str, fused: bool = True) -> nn.Module:
    name, args = NETWORKS[kind]
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=5, **SMALL, **args).eval()
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.2)  # fresh weights attend to all tokens alike
        if hasattr(module, "fused_attn"):
            module.fused_attn = fused
    return net


def images_for(kind: str, batch: int = 3) -> Tensor:
    size = NETWORKS[kind][1]["img_size"]
    height, width = size if isinstance(size, tuple) else (size, size)
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def written_matrices(kind: str, images: Tensor) -> list[Tensor]:
    """Each block's attention (B, heads, N, N), as timm's own unfused code hands it to its dropout."""
    net, found = build(kind, fused=False), []
    for block in net.blocks:
        block.attn.attn_drop.register_forward_hook(lambda module, args, output: found.append(args[0]))
    with torch.no_grad():
        net(images)
    return found


def seers(net: nn.Module) -> list[int]:
    tokens = net.num_prefix_tokens + net.patch_embed.num_patches
    return [0] if net.has_class_token else list(range(net.num_prefix_tokens, tokens))


@every_network
@pytest.mark.parametrize("fused", [True, False])
def test_attention_is_the_last_block_s_row(kind, fused):
    images, net = images_for(kind), build(kind, fused)
    last = written_matrices(kind, images)[-1]
    tap = AttentionTap(net)
    with tap.recording():
        net(images)
    found = tap.attention()
    assert found.dtype == torch.float32 and not found.requires_grad
    assert tuple(found.shape) == (3, *net.patch_embed.grid_size)
    wanted = sum(last[:, head, i] for head in range(3) for i in seers(net)) / (3 * len(seers(net)))
    torch.testing.assert_close(found.flatten(1), wanted[:, net.num_prefix_tokens :], rtol=1e-5, atol=1e-7)
    assert float(found.std()) > 0.01


@every_network
def test_rollout_is_what_becomes_of_labels_of_tokens(kind):
    """Every token has a label of its own, and labels go through the blocks as in TL-Align's paper, token by token."""
    images, net = images_for(kind), build(kind)
    tap = AttentionTap(net)
    with tap.recording():
        net(images)
    found = tap.rollout()
    for b in range(len(images)):
        tokens = net.num_prefix_tokens + net.patch_embed.num_patches
        label = torch.eye(tokens)
        for matrix in written_matrices(kind, images):
            aligned = torch.zeros_like(label)
            for i in range(tokens):
                for j in range(tokens):
                    aligned[i] += matrix[b, :, i, j].mean() * label[j]
            label = (aligned + label) / 2
        of_seers = label[seers(net)].mean(0)
        torch.testing.assert_close(found[b].flatten(), of_seers[net.num_prefix_tokens :], rtol=1e-5, atol=1e-6)
        assert float(found[b].sum()) == pytest.approx(1 - float(of_seers[: net.num_prefix_tokens].sum()), abs=1e-5)


def test_it_is_found_within_a_module_and_read_from_the_forward_of_maps():
    net, images = build("vit"), images_for("vit")
    tap, own = AttentionTap(nn.ModuleDict({"net": net})), AttentionTap(net)
    with tap.recording(), own.recording():
        net(images)
    first = tap.attention()
    assert torch.equal(first, own.attention())
    with tap.recording():
        net.forward_intermediates(images, indices=[0, 2])
    assert torch.equal(first, tap.attention())


def test_images_of_another_size_have_another_grid():
    net = build("any size")
    tap = AttentionTap(net)
    with tap.recording():
        net(torch.randn(2, 3, 16, 40))
    assert tap.attention().shape == (2, 2, 5)


def test_nothing_is_kept_outside_of_a_recording_and_a_recording_is_read_once():
    net = build("vit")
    tap = AttentionTap(net)
    net(images_for("vit"))
    for read in (tap.attention, tap.rollout):
        with pytest.raises(RuntimeError, match="recorded"):
            read()
        with tap.recording():
            net(images_for("vit"))
        read()
        with pytest.raises(RuntimeError, match="read before"):
            read()
    with tap.recording():
        net(images_for("vit"))
    with tap.recording():
        pass
    with pytest.raises(RuntimeError, match="recorded"):
        tap.attention()


def test_a_recording_holds_no_graph():
    net = build("vit")
    tap = AttentionTap(net)
    with tap.recording():
        net(images_for("vit"))
    assert not any(keeper.kept.requires_grad for _, keeper in tap._blocks)


def test_the_network_is_as_before():
    plain, net, images = build("vit"), build("vit"), images_for("vit")
    keys = list(net.state_dict())
    tap = AttentionTap(net)
    assert list(net.state_dict()) == keys
    with tap.recording():
        assert torch.equal(net(images), plain(images))
    net.train(), plain.train()
    with tap.recording():
        net(images).sum().backward()
    plain(images).sum().backward()
    tap.attention()
    for p, q in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(p.grad, q.grad)


class Owner(nn.Module):
    """A module that owns a network and its tap, as a task does."""

    def __init__(self) -> None:
        super().__init__()
        self.net = build("vit")
        self.tap = AttentionTap(self.net)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda owner: pickle.loads(pickle.dumps(owner))])
def test_a_copy_records_by_its_own_hooks(duplicate):
    owner, images = Owner(), images_for("vit")
    with owner.tap.recording():
        owner.net(images)
        twin = duplicate(owner)
    with torch.no_grad():
        twin.net.patch_embed.proj.weight.mul_(2)
    twin.net(images)
    with pytest.raises(RuntimeError, match="recorded"):
        twin.tap.attention()
    with twin.tap.recording():
        twin.net(images)
    assert not torch.equal(twin.tap.attention(), owner.tap.attention())


def test_under_autocast_it_is_computed_in_single_precision():
    net, images = build("vit"), images_for("vit")
    tap = AttentionTap(net)
    with torch.autocast("cpu", torch.bfloat16):
        with tap.recording():
            net(images)
        attention = tap.attention()
        with tap.recording():
            net(images)
        rollout = tap.rollout()
    last = written_matrices("vit", images)[-1]
    for found in (attention, rollout):
        assert found.dtype == torch.float32
        assert bool((found != found.bfloat16().float()).any())
    torch.testing.assert_close(attention.flatten(1), last.mean(1)[:, 0, 1:], rtol=0.3, atol=0.02)


def test_a_network_of_half_precision_and_one_on_no_device():
    net = build("normed").bfloat16()
    tap = AttentionTap(net)
    with tap.recording():
        net(images_for("normed").bfloat16())
    assert tap.attention().dtype == torch.float32
    net = build("vit").to("meta")
    tap = AttentionTap(net)
    for read in (tap.attention, tap.rollout):
        with tap.recording():
            net(torch.empty(2, 3, 32, 32, device="meta"))
        found = read()
        assert found.device.type == "meta" and found.shape == (2, 4, 4)


@pytest.mark.parametrize("wrapped", [True, False], ids=["wrapped", "in place"])
def test_a_network_compiled_before_is_recorded(wrapped):
    """Two graphs serve all steps: one that keeps nothing, and one that keeps it."""
    torch._dynamo.reset()
    counter, net, images = CompileCounter(), build("vit"), images_for("vit")
    plain = build("vit")
    own, tap = AttentionTap(plain), AttentionTap(net)
    if wrapped:
        forward = torch.compile(net, backend=counter, fullgraph=True)
    else:
        net.compile(backend=counter, fullgraph=True)
        forward = net
    for step in range(4):
        forward(images)
        with tap.recording(), own.recording():
            logits = forward(images + step)
            plain(images + step)
        logits.sum().backward()
        torch.testing.assert_close(tap.attention(), own.attention())
    assert counter.frame_count == 2
    torch._dynamo.reset()


@pytest.mark.slow
def test_an_optimised_network_is_recorded():
    torch._dynamo.reset()
    net, plain, images = build("vit"), build("vit"), images_for("vit")
    tap, own = AttentionTap(net), AttentionTap(plain)
    forward = torch.compile(net, backend="inductor")
    forward(images)
    with tap.recording(), own.recording():
        forward(images).sum().backward()
        plain(images)
    torch.testing.assert_close(tap.rollout(), own.rollout(), rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()


def test_where_activations_are_computed_anew_the_first_pass_counts():
    net, plain, images = build("vit"), build("vit"), images_for("vit")
    net.set_grad_checkpointing()
    tap, own = AttentionTap(net), AttentionTap(plain)
    with tap.recording(), own.recording():
        loss = net(images).sum()
        plain(images)
    loss.backward()
    torch.testing.assert_close(tap.attention(), own.attention())


@pytest.mark.parametrize(
    ("name", "args", "named"),
    [
        ("test_resnet", {}, "ResNet has no attention"),
        ("swin_tiny_patch4_window7_224", {}, "SwinTransformer has no attention"),
        ("beit_base_patch16_224", {}, "Beit has no attention"),
        ("vit_dwee_patch16_reg1_gap_256", {}, "DiffAttention"),
        ("vit_small_patch16_18x2_224", {}, "ParallelThingsBlock"),
        ("vit_tiny_patch16_224", {"patch_drop_rate": 0.5}, "patch_drop_rate"),
    ],
)
def test_a_network_that_cannot_be_read_is_named(name, args, named):
    with torch.device("meta"):
        net = timm.create_model(name, **args)
    with pytest.raises(ValueError, match=named):
        AttentionTap(net)


def test_a_module_without_any_network_is_named():
    with pytest.raises(ValueError, match="Identity has no attention"):
        AttentionTap(nn.Identity())


def test_drop_path_and_dropout_do_not_show():
    """What is recorded in training mode is the softmax itself."""
    torch.manual_seed(0)
    net = timm.create_model("vit_tiny_patch16_224", img_size=32, attn_drop_rate=0.5, **SMALL)
    tap = AttentionTap(net.train())
    with tap.recording():
        net(images_for("vit"))
    with_class = F.pad(tap.attention().flatten(1), (1, 0))
    assert bool((with_class.sum(1) < 1).all()) and bool((with_class[:, 1:] > 0).all())
