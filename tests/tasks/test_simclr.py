"""SimCLR against the paper's double loop."""

import math

import pytest
import torch

from openmix.models import ClsHead, ConvNet, ProjectionMLP
from openmix.tasks import SimCLR
from tests.tasks.ranks_contrastive import Plain


def make(backbone=None, norm="hidden", **options) -> SimCLR:
    torch.manual_seed(0)
    backbone = ConvNet((4, 6)) if backbone is None else backbone
    return SimCLR(backbone, ClsHead(5, 6), ProjectionMLP(6, [8, 4], norm), **options)


def pair(make_batch, size=4):
    return make_batch(size).with_views(make_batch(size).images, make_batch(size, seed=2).images)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.1}])
def test_the_loss(options, make_batch, at):
    task, batch = make(Plain(), "none", **options), pair(make_batch)
    tau = options.get("temperature", 0.5)
    with torch.no_grad():
        z = [z / z.norm() for view in batch.views for z in task.projector(task.features(view))]
    losses = []
    for i in range(8):
        similar = {k: math.exp(float(z[i] @ z[k]) / tau) for k in range(8) if k != i}
        losses.append(-math.log(similar[(i + 4) % 8] / sum(similar.values())))
    report = task(batch, at())
    assert report["loss_ssl"].item() == pytest.approx(sum(losses) / 8, rel=1e-5)
    same = task(batch.with_views(batch.images, batch.images), at())
    assert same["top1_pair"] == 100


def test_who_takes_gradients(make_batch, at):
    task, batch = make(), pair(make_batch)
    task(batch, at())["loss"].backward()
    whole = {name: p.grad.clone() for name, p in task.named_parameters()}
    task.zero_grad()
    task(batch, at())["loss_ssl"].backward()
    for name, p in task.named_parameters():
        if name.startswith("probe."):
            assert p.grad is None
        else:
            torch.testing.assert_close(p.grad, whole[name])


def test_both_views_take_a_gradient(make_batch, at):
    views = [view.requires_grad_() for view in pair(make_batch).views]
    make()(pair(make_batch).with_views(*views), at())["loss_ssl"].backward()
    assert all(view.grad.abs().max() > 0 for view in views)


def test_one_image_and_autocast(make_batch, at):
    assert make(Plain(), "none")(pair(make_batch, 1), at())["loss_ssl"].item() == pytest.approx(0, abs=1e-6)
    task = make()
    with torch.autocast("cpu", torch.bfloat16):
        report = task(pair(make_batch), at())
    report["loss"].backward()
    assert report["loss_ssl"].dtype == torch.float32
    assert report["loss_ssl"].item() == pytest.approx(make()(pair(make_batch), at())["loss_ssl"].item(), abs=0.05)


def test_what_is_refused(make_batch, at):
    with pytest.raises(ValueError, match="temperature must be a number above 0"):
        make(temperature=0.0)
    with pytest.raises(ValueError, match="SimCLR needs 2 views of each image, the pipeline gives 1"):
        make()(make_batch(4), at())
    batch = make_batch(4)
    with pytest.raises(ValueError, match="SimCLR compares 2 views of each image, the pipeline gives 3"):
        make()(batch.with_views(*[batch.images] * 3), at())
