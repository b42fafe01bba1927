"""AutoMix and SAMix: a step against the authors' order of passes, where its gradients go, what its options do."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from openmix.models import ClsMixupHead, ConvNet, PixelMixBlock
from openmix.ops.balanced import balanced_mix_cross_entropy
from openmix.ops.learned_masks import adjust_shares, cosine_between, mask_loss
from openmix.tasks import AutoMixClassification, SAMixClassification
from openmix.tasks.automix import Draw
from openmix.tasks.learned import draw_pair

KINDS = (AutoMixClassification, SAMixClassification)


def make(kind=AutoMixClassification, seed=0, **arguments):
    """A task whose networks have gone apart, and whose masks are not all but 1/2."""
    torch.manual_seed(seed)
    task = kind(ConvNet((4, 8)), ClsMixupHead(5, 8), **arguments)
    for name, p in [*task.mix_block.named_parameters(), *task.teacher.named_parameters()]:
        with torch.no_grad():
            p.add_(torch.randn_like(p) * (0.3 if p.ndim > 1 else 0.1)) if "norm" not in name else None
    nn.init.normal_(task.head.fc.weight)
    nn.init.normal_(task.head_one.fc.weight)
    return task


def draws_of(task, context, n: int) -> tuple[Draw, Draw, list[float]]:
    generator = context.generator("mix")
    first, second = (draw_pair(n, task.alpha, generator) for _ in range(2))
    return first, second, torch.rand(2, generator=generator).tolist()


def pair_loss(logits, labels, draw):
    lam, partner = draw.lam[0, 0], draw.sources[:, 1]
    return lam * F.cross_entropy(logits, labels) + (1 - lam) * F.cross_entropy(logits, labels[partner])


def blended(images, draw, shares):
    return images * shares[:, :1] + images[draw.sources[:, 1]] * shares[:, 1:]


def authors_losses(task, batch, context) -> dict[str, torch.Tensor]:
    """The four terms with four whole passes, in the order of the authors' code."""
    x, y = batch.images, batch.labels
    draw_k, draw_q, _ = draws_of(task, context, len(x))
    k, q = task.teacher, task._student[0]
    feature = k["backbone"](x)[-2]
    mask_k = task.mix_block(feature, draw_k.sources, draw_k.lam, tuple(x.shape[2:]))
    mask_q = task.mix_block(feature, draw_q.sources, draw_q.lam, tuple(x.shape[2:])).clone().detach()
    if task.lam_margin >= draw_q.lam[0, 0] or task.lam_margin >= draw_q.lam[0, 1]:
        mask_q[:] = draw_q.lam[0][None, :, None, None]
    logits_k = k["head"](k["backbone"](blended(x, draw_k, mask_k))[-1].mean((2, 3)))
    own, lam = mask_k[:, 0], draw_k.lam[0, 0]
    gaps, spread = ((own.mean((1, 2)) - lam).abs() - 0.1).clamp(min=0), own.var((1, 2), correction=0)
    loss_k = pair_loss(logits_k, y, draw_k)
    if isinstance(task, SAMixClassification):
        target = torch.stack([y, y[draw_k.sources[:, 1]]], 1)
        target = type(draw_k.mixed(x, y).target)(target, draw_k.lam.expand(len(x), 2))
        loss_k = balanced_mix_cross_entropy(logits_k, target, 0.5)
    loss_one = F.cross_entropy(q["head_one"](q["backbone"](x)[-1].mean((2, 3))), y)
    logits_q = q["head"](q["backbone"](blended(x, draw_q, mask_q))[-1].mean((2, 3)))
    return {
        "loss_mix_q": pair_loss(logits_q, y, draw_q),
        "loss_one_q": loss_one,
        "loss_mix_k": loss_k,
        "loss_mask": (gaps - task.mask_variance * spread).mean(),
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_step_is_the_authors_with_less_to_compute(kind, step, make_batch, at):
    task, batch, context = make(kind), make_batch(6), at(step=step)
    other = copy.deepcopy(task)
    report = task(batch, context)
    expected = authors_losses(other, batch, context)
    for name, value in expected.items():
        torch.testing.assert_close(report[name], value, rtol=1e-4, atol=1e-5)
    total = sum(expected[name] for name in ("loss_mix_q", "loss_one_q", "loss_mix_k")) + 0.1 * expected["loss_mask"]
    torch.testing.assert_close(report["loss"], total, rtol=1e-4, atol=1e-5)
    report["loss"].backward()
    total.backward()
    theirs = dict(other.named_parameters())
    for name, p in task.named_parameters():
        if p.grad is None or theirs[name].grad is None:
            assert p.grad is None, name
            assert theirs[name].grad is None, name
        else:
            torch.testing.assert_close(p.grad, theirs[name].grad, rtol=1e-3, atol=1e-5)
    for name, buffer in task.named_buffers():  # but for the momentum encoder's behind the mask layer
        if not name.startswith("teacher.backbone.layer2") and not name.startswith("mix_block"):
            torch.testing.assert_close(buffer, dict(other.named_buffers())[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_reaches_what_it_is_to_train_and_nothing_else(kind, make_batch, at):
    task, batch = make(kind), make_batch(6)
    names = {
        "backbone": [n for n, _ in task.backbone.named_parameters(prefix="backbone")],
        "head": [n for n, _ in task.head.named_parameters(prefix="head")],
        "head_one": [n for n, _ in task.head_one.named_parameters(prefix="head_one")],
        "mix_block": [n for n, _ in task.mix_block.named_parameters(prefix="mix_block")],
    }
    reached = {
        "loss_mix_q": ["backbone", "head"],
        "loss_one_q": ["backbone", "head_one"],
        "loss_mix_k": ["mix_block"],
        "loss_mask": ["mix_block"],
    }
    for loss, parts in reached.items():
        task.zero_grad(set_to_none=True)
        task(batch, at(step=1))[loss].backward()
        with_gradient = {n for n, p in task.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        wanted = {n for part in parts for n in names[part]}
        biases = {n for n in wanted if n.endswith("query.bias") or n.endswith("key.bias")}  # softmax may not feel them
        assert with_gradient <= wanted, loss
        assert wanted - biases <= with_gradient, loss
        assert not any(p.grad is not None for p in task.teacher.parameters())


def test_the_clean_images_get_no_gradient_and_stay_as_they_are(make_batch, at):
    task, batch = make(), make_batch(6)
    before = batch.images.clone()
    task(batch, at())["loss"].backward()
    assert torch.equal(batch.images, before)
    assert batch.images.grad is None


# Options


def found_step(task, n, at, wanted) -> int:
    """A step whose draws are as wanted."""
    return next(step for step in range(2000) if wanted(*draws_of(task, at(step=step), n)))


def student_mix(task, batch, context):
    seen = []
    handle = task.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    report = task(batch, context)
    handle.remove()
    assert len(seen) == 2  # clean ones, then mixed ones
    return seen[1], report


def test_at_the_margin_the_student_gets_plain_mixup(make_batch, at):
    batch = make_batch(6)
    task = make(lam_margin=0.3)
    for margin in (0.3, 0.0):
        task.lam_margin = margin
        step = found_step(task, 6, at, lambda k, q, _: min(q.lam[0]) < 0.3)
        draw = draws_of(task, at(step=step), 6)[1]
        images, _ = student_mix(task.eval(), batch, at(step=step))
        lam = draw.lam[0, 0]
        plain = lam * batch.images + (1 - lam) * batch.images[draw.sources[:, 1]]
        assert torch.allclose(images, plain, atol=1e-6) == (margin == 0.3)


@pytest.mark.parametrize("preset", [None, "openmixup"])
def test_adjusted_masks_are_set_to_the_own_lambda_and_in_the_port_to_the_others(preset, make_batch, at):
    task, batch, context = make(mask_adjust=1.0, lam_margin=0.0, preset=preset).eval(), make_batch(6), at(step=3)
    draw_k, draw_q, _ = draws_of(task, context, 6)
    own = task.mix_block(task.mask_features(batch.images), draw_q.sources, draw_q.lam, tuple(batch.images.shape[2:]))[
        :, 0
    ]
    adjusted = adjust_shares(own, (draw_k if preset else draw_q).lam[0, 0])[:, None]
    images, _ = student_mix(task, batch, context)
    expected = adjusted * batch.images + (1 - adjusted) * batch.images[draw_q.sources[:, 1]]
    torch.testing.assert_close(images, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_ports_mask_loss_takes_the_batch_for_one_mask(kind, make_batch, at):
    batch, context = make_batch(6), at(step=2)
    reports = {}
    for preset in (None, "openmixup"):
        task = make(kind, preset=preset, mask_margin=0.0).eval()
        draw, _, _ = draws_of(task, context, 6)
        own = task.shares(task.mask_features(batch.images), draw, tuple(batch.images.shape[2:]))[:, 0]
        whole = own.flatten(0, 1)[None] if preset else own
        expected = mask_loss(whole, draw.lam[0, 0], 0.0, task.mask_variance)
        reports[preset] = task(batch, context)
        torch.testing.assert_close(reports[preset]["loss_mask"], expected)
        torch.testing.assert_close(reports[preset]["mask_gap"], (own.mean((1, 2)) - draw.lam[0, 0]).abs().mean())


def test_the_ports_samix_trains_its_mix_block_by_plain_cross_entropy(make_batch, at):
    batch, context = make_batch(6), at(step=2)
    reports = []
    for eta in (0.0, 0.5):
        for preset in (None, "openmixup"):
            torch.manual_seed(3)
            block = PixelMixBlock(4, lam_concat=False)  # the same for both: their own ones differ
            task = make(SAMixClassification, eta=eta, mix_block=block, preset=preset)
            reports.append(task(batch, context)["loss_mix_k"])
    local, port, balanced, other_port = reports
    assert torch.equal(port, other_port)
    torch.testing.assert_close(balanced, local + 0.5 * port)
    assert not torch.isclose(balanced, port)


def test_samix_usual_mix_block_and_the_ports():
    for preset in (None, "openmixup"):
        block = SAMixClassification(ConvNet((4, 8)), ClsMixupHead(5, 8), preset=preset).mix_block
        assert (block.lam_mul, block.lam_mul_k, block.qk_concat, block.lam_concat) == (True, 0.25, True, False)
        assert block.upsampling == "bilinear"
        assert block.lam_before_norm == (preset == "openmixup")
    assert AutoMixClassification(ConvNet((4, 8)), ClsMixupHead(5, 8)).mix_block.lam_concat


def test_the_mask_loss_fades_by_a_cosine(make_batch, at):
    task, batch = make(mask_loss=0.4, mask_loss_end=0.1, mask_margin=0.0), make_batch(6)
    for progress in (0.0, 0.3, 1.0):
        report = copy.deepcopy(task)(batch, replace(at(step=1), progress=progress))
        rest = report["loss_mix_q"] + report["loss_one_q"] + report["loss_mix_k"]
        expected = rest + cosine_between(0.4, 0.1, progress) * report["loss_mask"]
        torch.testing.assert_close(report["loss"], expected)


def test_the_momentum_encoder_may_be_asked_in_some_steps_only(make_batch, at):
    task, batch, asked = make(k_prob=0.6), make_batch(4), []
    for step in range(40):
        chance = draws_of(task, at(step=step), 4)[2][0]
        report = task(batch, at(step=step))
        assert (report["loss_mix_k"].item() == 0) == (chance >= 0.6)
        report["loss"].backward()
        assert all(p.grad is not None for p in task.mix_block.parameters()), "each process must have all gradients"
        asked.append(chance < 0.6)
    assert 10 < sum(asked) < 35


def test_the_other_classifier_may_learn_from_plain_mixes(make_batch, at):
    task, batch = make(head_one_mix=True).eval(), make_batch(6)
    seen = []
    task.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for step in range(8):
        task(batch, at(step=step))
    firsts = seen[::2]
    assert not any(torch.equal(x, batch.images) for x in firsts)
    assert any(torch.isin(x, batch.images).all() for x in firsts), "CutMix moves pixels"
    assert any(not torch.isin(x, batch.images).any() for x in firsts), "MixUp blends them"


# Where it runs


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16(kind, make_batch, at):
    task, batch = make(kind), make_batch(6)
    expected = copy.deepcopy(task)(batch, at(step=1))
    with torch.autocast("cpu", torch.bfloat16):
        report = task(batch, at(step=1))
    report["loss"].backward()
    assert all(bool(value.isfinite()) for value in report.values())
    assert report["loss"].item() == pytest.approx(expected["loss"].item(), rel=0.05)
    trained = [p for p in task.parameters() if p.requires_grad]
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in trained)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_one_channels_last_and_meta(kind, make_batch, at):
    task = make(kind)
    batch = make_batch(1)
    assert bool(task.eval()(batch, at())["loss"].isfinite())
    batch = make_batch(4)
    expected = copy.deepcopy(task)(batch, at())["loss"]
    last = replace(batch, views=(batch.images.to(memory_format=torch.channels_last),))
    torch.testing.assert_close(copy.deepcopy(task)(last, at())["loss"], expected, rtol=1e-4, atol=1e-5)
    numbers = torch.zeros(4, dtype=torch.int64, device="meta")
    empty = replace(batch, views=(batch.images.to("meta"),), labels=numbers, index=numbers)
    assert task.to("meta").train()(empty, at())["loss"].device.type == "meta"


# torch hides this warning of its own, but not from a filter that makes errors of warnings
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_student_and_momentum_encoder_compile(kind, make_batch, at):
    task, batch = make(kind), make_batch(4)
    expected = copy.deepcopy(task)(batch, at(step=1))
    for module in task.compiled():
        module.compile()
    report = task(batch, at(step=1))
    for name, value in expected.items():
        torch.testing.assert_close(report[name], value, rtol=1e-3, atol=1e-4)
    report["loss"].backward()
    assert all(p.grad is not None for p in task.parameters() if p.requires_grad)
    task.after_step(at(step=1))
    assert bool(task(batch, at(step=2))["loss"].isfinite())
