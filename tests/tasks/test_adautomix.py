"""AdAutoMix: a step against the authors' order of passes, who is trained by what, when masks give way to lambda."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.models import ClsMixupHead, ConvNet
from openmix.models.adaptive_mask import AdaptiveMask
from openmix.tasks.adautomix import AdAutoMixClassification, cosine_to_sources, draw_mixes
from openmix.tasks.learned import Draw

RATIO, BETA = 0.3, 0.4
TERMS = ("loss_mix_q", "loss_one_q", "loss_blend_q", "loss_mix_k", "cosine")


def make_task(seed=0, k=3, **arguments) -> AdAutoMixClassification:
    """A task of large weights on a network with BatchNorm, whose momentum encoder is not where the student is."""
    torch.manual_seed(seed)
    task = AdAutoMixClassification(
        ConvNet((4, 8, 8)), ClsMixupHead(num_classes=5, in_channels=8), mix_samples=k, **arguments
    )
    for module in (task.head, task.head_one, task.mix_block, task.teacher):
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.5)
    return task


def draws_of(task, batch, context) -> tuple[Draw, Draw]:
    return draw_mixes(len(batch), task.mix_samples, task.alpha, context.generator("mix"))


def is_adversarial(context, interval=2) -> bool:
    return context.step % interval == 0


# A step as the authors' code goes about it


def network(parts, images: Tensor, head: str) -> Tensor:
    return parts[head](parts["backbone"](images)[-1].mean((2, 3)))


def weighed(logits: Tensor, labels: Tensor, sources: Tensor, lam: list[float]) -> Tensor:
    terms = [w * F.cross_entropy(logits, labels[sources[:, i]]) for i, w in enumerate(lam)]
    return torch.stack(terms).sum()


def summed(images: Tensor, sources: Tensor, shares: list) -> Tensor:
    return torch.stack([share * images[sources[:, i]] for i, share in enumerate(shares)]).sum(0)


def authors_step(task, batch, context, constant=False) -> dict[str, Tensor]:
    """Eight passes, four of them of the momentum encoder on clean images."""
    (x, y), (draw_k, draw_q) = (batch.images, batch.labels), draws_of(task, batch, context)
    k = task.mix_samples
    student = {"backbone": task.backbone, "head": task.head, "head_one": task.head_one}
    lam_k, lam_q = (draw.lam[0].tolist() for draw in (draw_k, draw_q))
    size = tuple(x.shape[2:])
    feature = task.teacher["backbone"](x)[1]
    masks_k = task.mix_block(feature, draw_k.sources, draw_k.lam, size)
    masks_q = task.mix_block(feature, draw_q.sources, draw_q.lam, size).detach()
    if constant:
        masks_q = torch.tensor(lam_q, dtype=x.dtype).view(1, k, 1, 1).expand_as(masks_q)

    logits = network(task.teacher, summed(x, draw_k.sources, list(masks_k[:, :, None].unbind(1))), "head")
    loss_mix_k = weighed(logits, y, draw_k.sources, lam_k)
    cosine = torch.zeros((), dtype=x.dtype)
    for i in range(k):
        clean = network(task.teacher, x[draw_k.sources[:, i]], "head")
        cosine = cosine + lam_k[i] * F.cosine_similarity(logits, clean, dim=1).mean()

    loss_one_q = F.cross_entropy(network(student, x, "head_one"), y)
    loss_blend_q, loss_re_q = None, loss_one_q
    if k > 2:
        blended = network(student, summed(x, draw_q.sources, lam_q), "head")
        loss_blend_q = weighed(blended, y, draw_q.sources, lam_q)
        loss_re_q = loss_one_q * (1 - RATIO) + loss_blend_q * RATIO
    mixed = network(student, summed(x, draw_q.sources, list(masks_q[:, :, None].unbind(1))), "head")
    loss_mix_q = weighed(mixed, y, draw_q.sources, lam_q)

    goal = loss_mix_k
    if is_adversarial(context):
        goal = -BETA * loss_mix_k + (1 - BETA) * cosine
    found = {"loss": loss_mix_q + loss_re_q + goal, "loss_mix_q": loss_mix_q, "loss_one_q": loss_one_q}
    found |= {} if loss_blend_q is None else {"loss_blend_q": loss_blend_q}
    return {
        **found,
        "loss_mix_k": loss_mix_k,
        "cosine": cosine if is_adversarial(context, task.adv_interval) else 0 * cosine,
    }


def gradients(task) -> dict[str, Tensor]:
    return {name: p.grad for name, p in task.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize(("k", "lam_margin"), [(2, 0.0), (3, 0.0), (4, 0.0), (3, 1.0), (2, 1.0)])
def test_a_step_is_the_authors(make_batch, at, k, lam_margin, step):
    """Losses, gradients and the student's running statistics: with K + 1 passes less, and BatchNorm in the network."""
    settings = {"lam_margin": lam_margin, "mixup_ratio": RATIO, "beta": BETA}
    task = make_task(k=k, mix_block=AdaptiveMask(8, lam_concat=True), **settings).double()
    batch, context = make_batch(7), at(step=step)
    batch = batch.with_views(batch.images.double())
    theirs = copy.deepcopy(task)
    wanted = authors_step(theirs, batch, context, constant=lam_margin == 1)
    wanted["loss"].backward()
    report = task(batch, context)
    report["loss"].backward()
    for name, value in wanted.items():
        torch.testing.assert_close(report[name], value, rtol=1e-6, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    assert set(report) == {*wanted, "top1_dominant"}
    ours, expected = gradients(task), gradients(theirs)
    assert ours.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")
    for name, value in theirs.backbone.named_buffers():
        torch.testing.assert_close(task.backbone.get_buffer(name), value)


@pytest.mark.parametrize("interval", [1, 2, 3])
def test_every_so_many_steps_are_adversarial(make_batch, at, interval):
    task, batch = make_task(adv_interval=interval), make_batch()
    for step in range(5):
        report = task(batch, at(step=step))
        student = report["loss_mix_q"] + (report["loss_one_q"] + report["loss_blend_q"]) / 2
        goal = report["loss_mix_k"]
        if is_adversarial(at(step=step), interval):
            goal = 0.7 * report["cosine"] - 0.3 * goal
            assert report["cosine"].abs() > 0.01
        else:
            assert report["cosine"] == 0
        torch.testing.assert_close(report["loss"], student + goal)
        assert tuple(report) == ("loss", *TERMS, "top1_dominant"), "the same names in every step"
        assert all(value.ndim == 0 for value in report.values())


def test_passes(make_batch, at):
    """Five in an adversarial step; in others the momentum encoder's clean one ends where the mask network looks."""
    task, batch, calls = make_task(), make_batch(), []
    for name, backbone in (("k", task.teacher["backbone"]), ("q", task.backbone)):
        for stage in ("layer1", "layer2", "layer3"):
            backbone.get_submodule(stage).register_forward_hook(
                lambda module, args, output, key=f"{name}.{stage}": calls.append(key)
            )
    task(batch, at(step=0))
    assert [calls.count(f"k.layer{i}") for i in (1, 2, 3)] == [2, 2, 2]
    assert [calls.count(f"q.layer{i}") for i in (1, 2, 3)] == [3, 3, 3]
    calls.clear()
    task(batch, at(step=1))
    assert [calls.count(f"k.layer{i}") for i in (1, 2, 3)] == [2, 2, 1]
    assert [calls.count(f"q.layer{i}") for i in (1, 2, 3)] == [3, 3, 3]


# Who is trained by what


def moved_by(task, loss: Tensor) -> set[str]:
    """Return the parameters that a loss has a gradient for, where that is not 0."""
    names, parameters = zip(*((n, p) for n, p in task.named_parameters() if p.requires_grad), strict=True)
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {n for n, g in zip(names, found, strict=True) if g is not None and bool((g.abs() > 1e-10).any())}


@pytest.mark.parametrize("step", [0, 1])
def test_each_loss_trains_one_of_the_two(make_batch, at, step):
    task, batch = make_task(k=3, mix_block=AdaptiveMask(8, lam_concat=True)).double(), make_batch()
    batch = batch.with_views(batch.images.double())
    report = task(batch, at(step=step))
    names = {n for n, _ in task.named_parameters()}
    parts = {p: {n for n in names if n.startswith(f"{p}.")} for p in ("backbone", "head", "head_one", "mix_block")}
    parts["mix_block"] -= {"mix_block.value.bias"}  # the softmax over the sources does not see it
    assert all(parts.values())
    assert moved_by(task, report["loss_mix_q"]) == parts["backbone"] | parts["head"]
    assert moved_by(task, report["loss_blend_q"]) == parts["backbone"] | parts["head"]
    assert moved_by(task, report["loss_one_q"]) == parts["backbone"] | parts["head_one"]
    assert moved_by(task, report["loss_mix_k"]) == parts["mix_block"]
    if is_adversarial(at(step=step)):
        assert moved_by(task, report["cosine"]) == parts["mix_block"]
    report["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in task.teacher.parameters())
    assert set(gradients(task)) == {n for n in names if not n.startswith("teacher.")}, "each parameter has a gradient"


@pytest.mark.parametrize("step", [0, 1])
def test_the_mask_networks_goal_turns_around(make_batch, at, step):
    """Its gradient is that of the cross entropy, or minus a share of it and a share of the cosine's."""
    task, batch = make_task(beta=0.3), make_batch()
    report = task(batch, at(step=step))
    parameters = list(task.mix_block.parameters())

    def of(name: str) -> Tensor:
        found = torch.autograd.grad(report[name], parameters, retain_graph=True)
        return torch.cat([g.flatten() for g in found])

    wanted = of("loss_mix_k")
    assert wanted.norm() > 1e-4
    if is_adversarial(at(step=step)):
        wanted = 0.7 * of("cosine") - 0.3 * wanted
    torch.testing.assert_close(of("loss"), wanted)


def test_a_step_leaves_the_momentum_encoder_to_the_average(make_batch, at):
    task, batch = make_task(), make_batch()
    before = {n: p.clone() for n, p in task.teacher.named_parameters()}
    optimizer = torch.optim.SGD(task.parameter_groups(), lr=0.1)
    task(batch, at())["loss"].backward()
    optimizer.step()
    assert all(torch.equal(p, before[n]) for n, p in task.teacher.named_parameters())
    task.after_step(at())
    for name, p in task.teacher.named_parameters():
        torch.testing.assert_close(p, 0.999 * before[name] + 0.001 * task.get_parameter(name))


# What is drawn, and when masks give way to lambda


@pytest.mark.parametrize("k", [2, 3, 5])
def test_draws(k):
    generator = torch.Generator().manual_seed(0)
    draws = [draw_mixes(6, k, 1.0, generator) for _ in range(400)]
    for pair in draws:
        for draw in pair:
            assert draw.sources.shape == (6, k) and torch.equal(draw.sources.sort(0).values[:, 0], torch.arange(6))
            assert all(torch.equal(column.sort().values, torch.arange(6)) for column in draw.sources.unbind(1))
            assert torch.equal(draw.sources[:, 0], torch.arange(6))
            assert draw.lam.shape == (1, k) and draw.lam.dtype == torch.float32
            torch.testing.assert_close(draw.lam.sum(), torch.tensor(1.0))
    assert sum(torch.equal(a.sources, b.sources) for a, b in draws) < 20, "partners are drawn twice"
    alike = sum(torch.equal(a.lam, b.lam) for a, b in draws)
    assert alike == (0 if k == 2 else 400), "of more than two images, lambda is drawn once"
    lam = torch.cat([a.lam for a, _ in draws])
    torch.testing.assert_close(lam.mean(0), torch.full((k,), 1 / k), atol=0.03, rtol=0)
    # uniform draws over their sum: for three, (u - v) is symmetric and the largest share is about 0.55
    uniform = torch.rand(4000, k, generator=generator)
    wanted = uniform / uniform.sum(1, keepdim=True)
    if k > 2:
        torch.testing.assert_close(lam.amax(1).mean(), wanted.amax(1).mean(), atol=0.02, rtol=0)
        torch.testing.assert_close(lam.std(), wanted.std(), atol=0.02, rtol=0)


def test_a_tiny_alpha_draws_shares_all_the_same():
    for seed in range(60):  # one in eight draws three zeros
        draw, _ = draw_mixes(2, 3, 1e-3, torch.Generator().manual_seed(seed))
        torch.testing.assert_close(draw.lam.sum(), torch.tensor(1.0))


@pytest.mark.parametrize(
    ("k", "preset", "own", "is_blend"),
    [
        (3, None, 0.02, True), (3, None, 0.2, False), (3, None, 0.9, False), (3, None, 0.98, True),
        (2, None, 0.02, True), (2, None, 0.2, False), (2, None, 0.98, True),
        # the port's second comparison is the other way round, of three images alone
        (3, "openmixup", 0.02, True), (3, "openmixup", 0.2, True), (3, "openmixup", 0.9, True),
        (3, "openmixup", 0.98, False),
        (2, "openmixup", 0.02, True), (2, "openmixup", 0.2, False), (2, "openmixup", 0.98, True),
    ],
)  # fmt: skip
def test_margin(make_batch, at, monkeypatch, k, preset, own, is_blend):
    task, batch = make_task(k=k, preset=preset), make_batch()
    lam = torch.tensor([[own, *(1 - own) * torch.tensor([0.4, 0.6] if k > 2 else [1.0])]])
    monkeypatch.setattr(
        "openmix.tasks.adautomix.draw_mixes",
        lambda *arguments: tuple(replace(draw, lam=lam) for draw in draw_mixes(*arguments)),
    )
    seen = []
    task.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    report = task(batch, at())
    draw = draws_of(task, batch, at())[1]
    blended = summed(batch.images, draw.sources, lam[0].tolist())
    assert torch.allclose(seen[-1], blended, atol=1e-6) == is_blend
    if k > 2:
        torch.testing.assert_close(seen[1], blended)
        assert torch.allclose(report["loss_mix_q"], report["loss_blend_q"]) == is_blend


def test_the_students_masks_have_its_own_partners(make_batch, at):
    task, batch, asked = make_task(), make_batch(), []
    task.mix_block.register_forward_hook(lambda module, args, output: asked.append((args, output)))
    task(batch, at(step=3))
    for (features, _, lam, size), shares in asked:
        assert not features.requires_grad and features.shape == (6, 8, 4, 5)
        assert size == (8, 10) and lam.shape == (1, 3) and shares.shape == (6, 3, 8, 10)
    (first, second), draws = asked, draws_of(task, batch, at(step=3))
    assert torch.equal(first[0][1], draws[0].sources) and first[1].requires_grad
    assert torch.equal(second[0][1], draws[1].sources) and not second[1].requires_grad


def test_cosine_to_sources():
    generator = torch.Generator().manual_seed(0)
    mixed, clean = torch.randn(4, 5, generator=generator), torch.randn(4, 5, generator=generator)
    sources = torch.tensor([[0, 2, 1], [1, 1, 0], [2, 0, 3], [3, 3, 3]])
    weights = torch.rand(4, 3, generator=generator)
    total = 0.0
    for b in range(4):
        for i in range(3):
            other = clean[sources[b, i]]
            total += (weights[b, i] * (mixed[b] @ other) / (mixed[b].norm() * other.norm())).item()
    assert cosine_to_sources(mixed, clean, sources, weights).item() == pytest.approx(total / 4, rel=1e-5)
    half = cosine_to_sources(mixed.bfloat16(), clean.bfloat16(), sources, weights)
    assert half.dtype == torch.float32
    zero = torch.zeros(4, 5, requires_grad=True)
    cosine_to_sources(zero, clean, sources, weights).backward()
    assert zero.grad is not None and bool(zero.grad.isfinite().all())


# Circumstances


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("k", [2, 3])
def test_it_waits_for_no_device(make_batch, at, k, step):
    task, batch = make_task(k=k).to("meta"), make_batch().to("meta")
    report = task(batch, at(step=step))
    report["loss"].backward()
    task.after_step(at(step=step))
    assert all(value.device.type == "meta" and value.ndim == 0 for value in report.values())


@pytest.mark.parametrize("step", [0, 1])
def test_autocast(make_batch, at, step):
    task, batch = make_task(), make_batch()
    wanted = copy.deepcopy(task)(batch, at(step=step))
    with torch.autocast("cpu", torch.bfloat16):
        report = task(batch, at(step=step))
    report["loss"].backward()
    for name in ("loss", *TERMS):
        assert report[name].dtype == torch.float32
        torch.testing.assert_close(report[name], wanted[name], atol=0.08, rtol=0.05, msg=lambda m, n=name: f"{n}: {m}")
    assert len(gradients(task)) == len([p for p in task.parameters() if p.requires_grad])
    assert all(bool(g.isfinite().all()) for g in gradients(task).values())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch's own, of mixed images
def test_compiled(make_batch, at, backend):
    torch._dynamo.reset()
    task, batch = make_task(), make_batch()
    plain = copy.deepcopy(task)
    for module in task.compiled():
        module.compile(backend=backend)
    for step in (0, 1):
        report, wanted = task(batch, at(step=step)), plain(batch, at(step=step))
        report["loss"].backward()
        wanted["loss"].backward()
        for name in ("loss", *TERMS):
            torch.testing.assert_close(report[name], wanted[name], rtol=1e-4, atol=1e-5)
    expected = gradients(plain)
    for name, gradient in gradients(task).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_what_is_evaluated(make_batch):
    task, batch = make_task().eval(), make_batch()
    found = task.predictions(batch.images)
    assert tuple(found) == ("", "q", "one_q", "k", "one_k")
    torch.testing.assert_close(found["k"], network(task.teacher, batch.images, "head"))


def test_defaults():
    task = make_task()
    assert (task.mix_samples, task.alpha, task.lam_margin, task.beta, task.adv_interval) == (3, 1.0, 0.03, 0.3, 2)
    assert task.plain_weights == (0.5, 0.5) and task.stages == 2
    assert isinstance(task.mix_block, AdaptiveMask) and not task.mix_block.lam_concat
    assert task.mix_block.upsampling == "bilinear" and task.mix_block.in_channels == 8
    assert (task.momentum.start, task.momentum.end, task.momentum.constant) == (0.999, 0.999999, 0.1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mix_samples": 1}, {"mix_samples": 2.5}, {"adv_interval": 0}, {"alpha": 0}, {"lam_margin": 1.5},
        {"mixup_ratio": -0.1}, {"beta": 2}, {"momentum": 1.5}, {"preset": "authors"}, {"mask_layer": 3},
    ],
)  # fmt: skip
def test_bad_arguments(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        AdAutoMixClassification(ConvNet((4, 8, 8)), ClsMixupHead(num_classes=5, in_channels=8), **arguments)
