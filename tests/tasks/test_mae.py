"""Masked autoencoding: what is seen, what is lost, what learns, and the same in several processes."""

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from openmix.data.batch import Batch
from openmix.errors import UserError
from openmix.models import ClsHead, ConvNet, MAEDecoder, TimmBackbone
from openmix.models.sincos import sincos_positions
from openmix.ops.masked_patches import Masking
from openmix.registry import build_task
from openmix.tasks import MAE

NET = {"patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2}
MODEL: dict[str, Any] = {
    "type": "MAE",
    "backbone": {"type": "TimmBackbone", "name": "vit_tiny_patch16_224", "img_size": 16, "model_args": NET},
    "probe": {"type": "ClsHead", "num_classes": 10},
    "decoder": {"type": "MAEDecoder", "embed_dim": 8, "depth": 1, "num_heads": 2},
}
WITHOUT_TOKEN = {"class_token": False, "global_pool": "avg", "fc_norm": False}


def make(net: dict[str, Any] | None = None, size: Any = 16, **options: Any) -> MAE:
    torch.manual_seed(0)
    backbone = {**MODEL["backbone"], "img_size": size, "model_args": {**NET, **(net or {})}}
    return build_task({**MODEL, "backbone": backbone, **options})


def images(count: int = 3, size: tuple[int, int] = (16, 16)) -> torch.Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def batch(count: int = 3) -> Batch:
    return Batch((images(count),), torch.arange(count), torch.arange(count))


@pytest.mark.parametrize("normalised", [True, False])
def test_the_loss_is_a_loop_over_removed_patches(at, normalised):
    task = make(norm_pix_loss=normalised)
    x = images()
    learnt = task.learn((x,), at())
    mask, _ = task.reconstruct(x, at().generator("mask"))
    masking = task._draw(x, at().generator("mask"))
    predicted = task.decoder(task.encode(x, masking), masking.back)
    losses = []
    for image, removed, said in zip(x, mask, predicted, strict=True):
        for n in range(16):
            if removed[n]:
                y, x0 = 4 * (n // 4), 4 * (n % 4)
                target = torch.stack([image[:, y + i, x0 + j] for i in range(4) for j in range(4)]).flatten()
                if normalised:
                    target = (target - target.mean()) / (target.var() + 1e-6).sqrt()
                losses.append(((said[n] - target) ** 2).mean())
    assert len(losses) == 3 * 12
    assert torch.allclose(learnt.loss, torch.stack(losses).mean(), atol=1e-6)


@pytest.mark.parametrize("net", [{}, WITHOUT_TOKEN, {"reg_tokens": 2}, {"no_embed_class": True}, {"init_values": 0.1}])
def test_what_is_seen_is_encoded_as_timm_encodes_a_sequence_of_it(net):
    """And where all patches are seen, in order, it is what the network makes of the image."""
    task = make(net).eval()
    net_, x = task.net, images()
    order = torch.stack([torch.randperm(16) for _ in x])
    with torch.no_grad():
        whole = task.encode(x, Masking(torch.arange(16).expand(3, -1), torch.arange(16).expand(3, -1)))
        assert torch.allclose(whole, net_.forward_features(x), atol=1e-5)
        got = task.encode(x, Masking(order[:, :4], order.argsort(1)))
        every = net_._pos_embed(net_.patch_embed(x))
        count = net_.num_prefix_tokens
        for row, seen, sequence in zip(got, order[:, :4], every, strict=True):
            alone = torch.cat([sequence[:count], sequence[count:][seen]])[None]
            assert torch.allclose(row, net_.norm(net_.blocks(net_.norm_pre(alone)))[0], atol=1e-5)


def test_hidden_pixels_do_not_reach_the_encoder(at):
    task, x = make().eval(), images()
    mask, _ = task.reconstruct(x, at().generator("mask"))
    other = torch.where(mask.view(3, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3), 100.0, x)
    masking = task._draw(x, at().generator("mask"))
    assert torch.equal(task.encode(x, masking), task.encode(other, masking))
    assert not torch.equal(task.learn((x,), at()).loss, task.learn((other,), at()).loss)


def test_masks_are_a_function_of_the_place_in_the_run(at):
    task, x = make(), images()

    def mask(**place: int) -> list[bool]:
        return task._draw(x, at(**place).generator("mask")).removed.tolist()

    assert mask() == mask()
    assert len({str(mask(**place)) for place in ({}, {"step": 1}, {"shard": 1}, {"seed": 1})}) == 4


@pytest.mark.parametrize("net", [{}, WITHOUT_TOKEN])
def test_positions_are_fixed_and_all_else_learns(at, net):
    task = make(net)
    count = task.net.pos_embed.shape[1] - 16
    wanted = torch.cat([torch.zeros(count, 8), sincos_positions(8, (4, 4))])
    assert torch.equal(task.net.pos_embed[0], wanted)
    task(batch(), at())["loss"].backward()
    assert [n for n, p in task.named_parameters() if p.grad is None] == ["backbone.net.pos_embed"]
    grouped = {id(p) for group in task.parameter_groups() for p in group["params"]}
    assert {n for n, p in task.named_parameters() if id(p) not in grouped} == {"backbone.net.pos_embed"}
    assert [group["name"] for group in task.parameter_groups()] == ["encoder", "probe"]


def test_the_probe_teaches_the_trunk_nothing(at):
    task = make()
    outputs = task(batch(), at())
    outputs["loss_probe"].backward()
    assert {n for n, p in task.named_parameters() if p.grad is not None} == {"probe.fc.weight", "probe.fc.bias"}


@pytest.mark.parametrize("net", [{}, WITHOUT_TOKEN, {"global_pool": "avg", "fc_norm": False}])
def test_the_probe_sees_what_the_backbone_pools(at, net, monkeypatch):
    """Of all patches, as if none were removed, it is what validation looks at."""
    task, x = make(net).eval(), images()
    everything = torch.arange(16).expand(3, -1)
    monkeypatch.setattr(task, "_draw", lambda *_: Masking(everything, everything))
    task.patches = 17  # so that a patch seems to be missing
    monkeypatch.setattr(task, "encode", lambda images, masking: task.net.forward_features(images))
    assert torch.allclose(task.learn((x,), at()).features, task.features(x), atol=1e-6)


def test_odd_sizes(at):
    task = make(size=[12, 20])
    mask, pixels = task.reconstruct(images(2, (12, 20)), at().generator("mask"))
    assert mask.shape == (2, 15) and mask.sum(1).tolist() == [12, 12]
    assert pixels.shape == (2, 3, 12, 20)


@pytest.mark.parametrize("normalised", [True, False])
def test_a_perfect_prediction_is_the_image(at, normalised, monkeypatch):
    task, x = make(norm_pix_loss=normalised), images()
    patches = torch.stack([x[:, :, 4 * (n // 4) :, 4 * (n % 4) :][:, :, :4, :4] for n in range(16)], 1)
    target = patches.permute(0, 1, 3, 4, 2).flatten(2)
    if normalised:
        target = (target - target.mean(2, keepdim=True)) / (target.var(2, keepdim=True) + 1e-6).sqrt()
    monkeypatch.setattr(task.decoder, "forward", lambda tokens, back: target)
    assert torch.allclose(task.reconstruct(x, at().generator("mask"))[1], x, atol=1e-5)
    assert task.learn((x,), at()).loss < 1e-9


def test_the_loss_is_of_float32_under_autocast(at, monkeypatch):
    task, x = make(), images()
    exact = task.learn((x,), at()).loss
    with torch.autocast("cpu", torch.bfloat16):
        rough = task.learn((x,), at())
    assert rough.loss.dtype == torch.float32
    assert torch.allclose(rough.loss, exact, rtol=0.02)
    monkeypatch.setattr(task.decoder, "forward", lambda tokens, back: torch.zeros(3, 16, 48, dtype=torch.bfloat16))
    far = images() + 300.0  # which bfloat16 tells apart by 2
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(task.learn((far,), at()).loss, torch.tensor(47 / 48), atol=1e-2)


def plain(name: str = "vit_tiny_patch16_224", **net: Any) -> TimmBackbone:
    return TimmBackbone(name, img_size=16, model_args={**NET, **net})


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (lambda: ConvNet([4]), "ConvNet has no patch_embed, cls_token, pos_embed, blocks, norm"),
        (lambda: TimmBackbone("resnet10t"), "ResNet has no patch_embed"),
        (lambda: plain("deit_tiny_distilled_patch16_224"), "VisionTransformerDistilled is of another kind"),
        (lambda: plain(global_pool="avg"), r"no norm before the pooling \(write model_args=dict\(fc_norm=False\)\)"),
        (lambda: plain(global_pool="map"), "attention pooling, which no gradient would reach"),
        (lambda: plain(pos_embed="none"), "this one has no pos_embed"),
        (lambda: plain(patch_size=5), r"patches of \(5, 5\) pixels do not divide images of \(16, 16\)"),
    ],
)
def test_other_networks_are_refused(backbone, message):
    with pytest.raises(ValueError, match=message):
        MAE(backbone(), ClsHead(10, 8), MAEDecoder(8, 8, 1, 2))


def test_wrong_arguments_in_a_config():
    with pytest.raises(UserError, match=r"mask_ratio=0.99 must remove some of 16 patches and leave some"):
        make(mask_ratio=0.99)
    with pytest.raises(UserError, match="AttentionPooling has weights, which no gradient would reach"):
        make(neck={"type": "AttentionPooling", "num_heads": 2})


def test_it_is_the_authors_beginning():
    net = make().net
    assert isinstance(net, VisionTransformer)
    for weight in (net.patch_embed.proj.weight.flatten(1), net.blocks[0].attn.qkv.weight):
        bound = (6 / sum(weight.shape)) ** 0.5
        assert 0.9 * bound < weight.abs().max() <= bound
    assert not net.blocks[0].mlp.fc1.bias.any()
    assert 0.003 < net.cls_token.std() < 0.05


TINY: dict[str, Any] = {
    "model": {
        **MODEL,
        "backbone": {
            **MODEL["backbone"], "in_channels": 1, "img_size": 8, "model_args": {**NET, "patch_size": 2}
        },
    },
    "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 0.01, "weight_decay": 0.05}},
}  # fmt: skip


class TestRuns:
    def test_resumed_is_the_same_run(self, lab, tmp_path):
        path = lab.write(tmp_path, **TINY)
        lab.train(path, tmp_path / "whole")
        assert lab.train(path, tmp_path / "parts", stop_after=5) is None
        lab.train(path, tmp_path / "parts", resume=True)
        lab.assert_same_run(tmp_path / "whole", tmp_path / "parts")
        losses = [r["loss_ssl"] for r in lab.records(tmp_path / "whole") if r["split"] == "train"]
        assert losses[-1] < losses[0]

    def test_two_processes_that_are_cut_go_on_to_the_same_end(self, lab, ranks, tmp_path):
        path = lab.write(tmp_path, **TINY, custom_hooks=[{"type": "EMAHook", "momentum": 0.2}])
        for folder, stops in (("whole", [None]), ("cut", [{"0": 5}, None])):
            changes = {"work_dir": str(tmp_path / folder), "train_dataloader.batch_size": 4}
            for stop in stops:
                ranks(2, "train_config", config=path, overrides=changes, resume=True, stops=stop)
        lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")

    def test_two_processes_are_one_that_accumulates(self, lab, ranks, tmp_path):
        path = lab.write(tmp_path, **TINY)
        half = {"train_dataloader__batch_size": 4}
        lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2, **half)
        ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two"), **dotted(half)})
        one, two = (lab.state(tmp_path / name)["model"] for name in ("one", "two"))
        assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in one)
        pairs = zip(lab.records(tmp_path / "one"), lab.records(tmp_path / "two"), strict=True)
        assert all(a["loss_ssl"] == pytest.approx(b["loss_ssl"], abs=1e-5) for a, b in pairs if a["split"] == "train")


def dotted(overrides: dict[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in overrides.items()}
