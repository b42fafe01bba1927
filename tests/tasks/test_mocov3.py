"""MoCo v3 against the formula, pair by pair."""

import math

import pytest
import torch

from openmix.models import ClsHead, ConvNet, ProjectionMLP
from openmix.tasks import MoCoV3, StepContext
from tests.tasks.ranks_contrastive import Plain


def make(backbone=None, norm="none", **options) -> MoCoV3:
    torch.manual_seed(0)
    backbone = ConvNet((4, 6)) if backbone is None else backbone
    parts = ProjectionMLP(6, [8, 4], norm), ProjectionMLP(4, [5, 4], norm)
    return MoCoV3(backbone, ClsHead(5, 6), *parts, **options)


def pair(make_batch, size=4):
    return make_batch(size).with_views(make_batch(size).images, make_batch(size, seed=2).images)


def one_way(queries, keys, temperature):
    """Return the mean cross entropy of each query's choice among all keys."""
    losses = []
    for i, query in enumerate(queries):
        similar = [float(query @ key / query.norm() / key.norm()) / temperature for key in keys]
        losses.append(-math.log(math.exp(similar[i]) / sum(map(math.exp, similar))))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.2, 1.0])
def test_the_loss(temperature, make_batch, at):
    task, batch = make(Plain(), temperature=temperature), pair(make_batch)
    for p in task.teacher.parameters():
        p.mul_(1.3)  # so that keys are not what the network itself would say
    with torch.no_grad():
        queries = [task.predictor(task.projector(task.features(view))) for view in batch.views]
        keys = [task.teacher["projector"](task.teacher["backbone"](view)[0].mean((2, 3))) for view in batch.views]
    expected = one_way(queries[0], keys[1], temperature) + one_way(queries[1], keys[0], temperature)
    assert task(batch, at())["loss_ssl"].item() == pytest.approx(2 * temperature * expected, rel=1e-5)


def test_the_momentum_goes_to_one(make_batch):
    task = make(momentum=0.9)
    for progress in (0.0, 0.5, 0.99):
        before = {name: p.clone() for name, p in task.teacher.named_parameters()}
        torch.manual_seed(int(100 * progress))
        for name in before:
            task.get_parameter(name).data.add_(torch.randn_like(before[name]))
        task.after_step(StepContext(0, 0, 0, 0, progress))
        m = 1 - 0.1 * (math.cos(math.pi * progress) + 1) / 2
        for name, p in task.teacher.named_parameters():
            torch.testing.assert_close(p, m * before[name] + (1 - m) * task.get_parameter(name).detach())


def test_who_takes_gradients(make_batch, at):
    task = make(norm="hidden").requires_grad_(True)
    report = task(pair(make_batch), at())
    report["loss"].backward()
    taken = {name: p.grad is not None for name, p in task.named_parameters()}
    assert all(has != name.startswith("teacher.") for name, has in taken.items())
    encoder, probe = task.parameter_groups()
    assert len(encoder["params"]) + len(probe["params"]) == len(taken)
    assert set(report) == {"loss", "loss_ssl", "loss_probe", "top1_pair", "top1"}


def test_pairs_that_are_found(make_batch, at):
    """A predictor that passes on what it is given finds the same image."""
    task, batch = make(Plain()), pair(make_batch)
    task.predictor = torch.nn.Identity()
    assert task(batch.with_views(batch.images, batch.images), at())["top1_pair"] == 100


def test_one_image_and_autocast(make_batch, at):
    assert make()(pair(make_batch, 1), at())["loss_ssl"].item() == pytest.approx(0, abs=1e-6)
    task = make(norm="hidden")
    with torch.autocast("cpu", torch.bfloat16):
        report = task(pair(make_batch), at())
    report["loss"].backward()
    assert report["loss_ssl"].dtype == torch.float32
    assert all(p.grad is not None for p in task.parameters() if p.requires_grad)


def test_what_is_refused(make_batch, at):
    with pytest.raises(ValueError, match="predictor gives 3 channels, and the projector, whose output it predicts, 4"):
        MoCoV3(Plain(), ClsHead(5, 6), ProjectionMLP(6, [4]), ProjectionMLP(4, [3]))
    with pytest.raises(ValueError, match="temperature"):
        make(temperature=-1)
    batch = make_batch(4)
    with pytest.raises(ValueError, match="MoCoV3 compares 2 views of each image, the pipeline gives 3"):
        make()(batch.with_views(*[batch.images] * 3), at())
