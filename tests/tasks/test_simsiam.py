"""SimSiam: the loss and its stop-gradient against the formula, its groups, one way and both."""

import pytest
import torch

from openmix.models import ClsHead, ConvNet, ProjectionMLP
from openmix.tasks import SimSiam
from tests.tasks.ranks_contrastive import Plain


def make(backbone=None, norms=("all", "hidden"), **options) -> SimSiam:
    torch.manual_seed(0)
    backbone = ConvNet((4, 6)) if backbone is None else backbone
    parts = ProjectionMLP(6, [8, 4], norms[0]), ProjectionMLP(4, [5, 4], norms[1])
    return SimSiam(backbone, ClsHead(5, 6), *parts, **options)


def plain(**options) -> SimSiam:
    return make(Plain(), ("none", "none"), **options)


def pair(make_batch, size=4):
    return make_batch(size).with_views(make_batch(size).images, make_batch(size, seed=2).images)


def minus_cosine(predicted, target):
    cosines = [p @ z / (p @ p).sqrt() / (z @ z).sqrt() for p, z in zip(predicted, target, strict=True)]
    return -torch.stack(cosines).mean()


def by_hand(task, views, stops, symmetric):
    """Return the loss and its gradients; the target is data where ``stops``."""
    z = [task.projector(task.backbone(view)[0].mean((2, 3))) for view in views]
    targets = [each.detach() if stops else each for each in z]
    loss = minus_cosine(task.predictor(z[0]), targets[1])
    if symmetric:
        loss = (loss + minus_cosine(task.predictor(z[1]), targets[0])) / 2
    names, parameters = zip(*((n, p) for n, p in task.named_parameters() if not n.startswith("probe")), strict=True)
    return loss, dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_target_takes_no_gradient(symmetric, make_batch, at):
    task, batch = plain(symmetric=symmetric), pair(make_batch)
    loss, gradients = by_hand(task, batch.views, stops=True, symmetric=symmetric)
    _, others = by_hand(task, batch.views, stops=False, symmetric=symmetric)
    report = task(batch, at())
    report["loss"].backward()
    assert report["loss_ssl"].item() == pytest.approx(loss.item(), rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(task.get_parameter(name).grad, gradient, rtol=1e-4, atol=1e-6)
    assert any((gradients[name] - others[name]).abs().max() > 1e-3 for name in gradients)


def test_one_way_the_second_view_takes_none_at_all(make_batch, at):
    """Seen at the images: both views take some if each predicts the other."""
    for symmetric in (True, False):
        views = [view.requires_grad_() for view in pair(make_batch).views]
        task, passes = plain(symmetric=symmetric), []
        task.backbone.register_forward_hook(lambda *_, to=passes: to.append(torch.is_grad_enabled()))
        task(pair(make_batch).with_views(*views), at())["loss_ssl"].backward()
        assert [view.grad is not None for view in views] == passes == [True, symmetric]


@pytest.mark.parametrize("symmetric", [True, False])
def test_batchnorm_sees_both_views(symmetric, make_batch, at):
    task = make(symmetric=symmetric)
    task(pair(make_batch), at())
    assert task.get_submodule("backbone.layer1.1").num_batches_tracked == 2


def test_the_predictor_has_a_group_of_its_own():
    task = make()
    groups = task.parameter_groups()
    assert [group["name"] for group in groups] == ["encoder", "predictor", "probe"]
    names = {id(p): name.split(".")[0] for name, p in task.named_parameters()}
    assert [{names[id(p)] for p in group["params"]} for group in groups] == [
        {"backbone", "projector"},
        {"predictor"},
        {"probe"},
    ]
    assert sum(len(group["params"]) for group in groups) == len(list(task.parameters()))


def test_spread_tells_of_a_collapse(make_batch, at):
    """Near 1 for independent directions, 0 where all are one."""
    torch.manual_seed(0)
    task = SimSiam(Plain(), ClsHead(5, 6), ProjectionMLP(6, [64], "all"), ProjectionMLP(64, [64]))
    batch = pair(make_batch, 64)
    assert task(batch, at())["spread"].item() == pytest.approx(1, abs=0.1)
    task.projector.layers[0].weight.data.zero_()
    assert task(batch, at())["spread"].item() == 0


@pytest.mark.parametrize("symmetric", [True, False])
def test_one_image_and_autocast(symmetric, make_batch, at):
    assert plain(symmetric=symmetric)(pair(make_batch, 1), at())["loss"].isfinite()
    task, exact = make(symmetric=symmetric), make(symmetric=symmetric)
    with torch.autocast("cpu", torch.bfloat16):
        report = task(pair(make_batch), at())
    report["loss"].backward()
    assert all(p.grad is not None for p in task.parameters())  # also under a torch that caches what it casts
    assert report["loss_ssl"].dtype == torch.float32
    assert report["loss_ssl"].item() == pytest.approx(exact(pair(make_batch), at())["loss_ssl"].item(), abs=0.1)


def test_what_is_refused(make_batch, at):
    with pytest.raises(ValueError, match="predictor gives 3 channels"):
        SimSiam(Plain(), ClsHead(5, 6), ProjectionMLP(6, [4]), ProjectionMLP(4, [3]))
    with pytest.raises(ValueError, match="symmetric must be True or False"):
        make(symmetric="no")
    batch = make_batch(4)
    with pytest.raises(ValueError, match="SimSiam compares 2 views of each image, the pipeline gives 3"):
        make()(batch.with_views(*[batch.images] * 3), at())
