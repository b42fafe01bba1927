"""MoCo against loops: the loss with its queue, the momentum encoder, who takes gradients, parts and shuffles."""

import math
from collections import deque

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from openmix.engine.wrapping import check_division, check_sync_bn
from openmix.errors import UserError
from openmix.models import ClsHead, ConvNet, ProjectionMLP
from openmix.models.split_batchnorm import SplitBatchNorm
from openmix.ops.random import generator_for
from openmix.tasks import MoCo, StepContext
from tests.tasks.ranks_contrastive import Plain


def make(backbone=None, seed=0, norm="none", **options) -> MoCo:
    """A task of 5 classes on 4 channels, with 7 places in its queue."""
    torch.manual_seed(seed)
    backbone = ConvNet((4, 6)) if backbone is None else backbone
    probe = ClsHead(5, 6)
    nn.init.normal_(probe.fc.weight)
    return MoCo(backbone, probe, ProjectionMLP(6, [8, 4], norm), **{"queue_size": 7, **options})


def views(make_batch, count=2, size=4, seed=1):
    batch = make_batch(size, seed=seed)
    return batch.with_views(*(make_batch(size, seed=seed + 10 * i).images for i in range(count)))


def train(task, batches, momentum=0.0, lr=0.3):
    """Yield after each step what was reported, having done what the engine does."""
    optimizer = torch.optim.SGD([p for p in task.parameters() if p.requires_grad], lr=lr, momentum=momentum)
    for step, batch in enumerate(batches):
        context = StepContext(0, 0, step, 0, step / len(batches))
        report = task(batch, context)
        report["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        task.after_step(context)
        yield report


def naive_loss(task, query, keys, negatives, temperature):
    """InfoNCE of a batch, pair by pair; queries by the student, keys averaged before they are scaled to length 1."""
    project = {True: task.projector, False: task.teacher["projector"]}
    trunk = {True: task.features, False: lambda x: task.teacher["neck"](task.teacher["backbone"](x))}

    def vectors(images, student):
        return project[student](trunk[student](images)).detach()

    queries = vectors(query, True)
    raw = sum(vectors(key, False) for key in keys) / len(keys)
    losses = []
    for q, k in zip(queries, raw, strict=True):
        q, k = q / q.norm(), k / k.norm()
        positive = math.exp(float(q @ k) / temperature)
        others = sum(math.exp(float(q @ n) / temperature) for n in negatives)
        losses.append(-math.log(positive / (positive + others)))
    return sum(losses) / len(losses), [k / k.norm() for k in raw]


@pytest.mark.parametrize("count", [2, 3])
def test_info_nce_while_the_queue_goes_around_three_times(count, make_batch):
    """With one key an image, and with the mean of two."""
    task = make(Plain(), temperature=0.3, momentum=0.5)
    queue = deque(task.queue.features.clone(), maxlen=7)
    batches = [views(make_batch, count, seed=i) for i in range(6)]
    reports = train(task, batches)
    for batch in batches:
        expected, keys = naive_loss(task, batch.views[0], batch.views[1:], queue, 0.3)
        assert next(reports)["loss_ssl"].item() == pytest.approx(expected, rel=1e-5)
        queue.extend(keys)
        rolled = task.queue.features.roll(-int(task.queue.place), 0)
        torch.testing.assert_close(rolled, torch.stack(list(queue)), rtol=1e-5, atol=1e-6)
    assert 6 * 4 >= 3 * 7


def test_the_symmetric_loss_is_the_sum_of_both_and_both_keys_enter_the_queue(make_batch):
    task, batch = make(Plain(), symmetric=True), views(make_batch)
    negatives, (one, two) = task.queue.features.clone(), batch.views
    there, keys_of_two = naive_loss(task, one, [two], negatives, 0.2)
    back, keys_of_one = naive_loss(task, two, [one], negatives, 0.2)
    (report,) = train(task, [batch])
    assert report["loss_ssl"].item() == pytest.approx(there + back, rel=1e-5)
    pushed = torch.stack(keys_of_two + keys_of_one)[-7:]
    torch.testing.assert_close(task.queue.features.roll(-int(task.queue.place), 0), pushed, rtol=1e-5, atol=1e-6)


def test_the_pairs_that_are_found(make_batch, at):
    task, batch = make(Plain()), views(make_batch)
    batch = batch.with_views(batch.images, batch.images)  # the momentum encoder begins as the network: a perfect match
    assert task(batch, at())["top1_pair"] == 100
    task.queue.features[: len(batch)] = -task.keys(batch.views, 1, 2, at())
    task.queue.features[0] *= -1  # as like query 0 as its key is: the others still find theirs
    assert task(batch, at())["top1_pair"] >= 75


@pytest.mark.parametrize("end", [None, 1.0])
def test_the_momentum_encoder_in_closed_form(end, make_batch):
    task = make(momentum=0.8, momentum_end=end)
    expected = {name: p.clone() for name, p in task.teacher.named_parameters()}
    student = {name: dict(task.named_parameters())[name] for name in expected}
    for step, _ in enumerate(train(task, [views(make_batch, seed=i) for i in range(4)])):
        m = 0.8 if end is None else 1 - 0.2 * (math.cos(math.pi * step / 4) + 1) / 2
        for name, value in expected.items():
            value.mul_(m).add_(student[name].detach(), alpha=1 - m)
            torch.testing.assert_close(task.teacher.get_parameter(name), value, rtol=1e-5, atol=1e-6)
    assert any((student[name] - value).abs().max() > 1e-3 for name, value in expected.items())


def test_the_momentum_encoders_batchnorm_has_statistics_of_its_own(make_batch):
    task, batch = make(momentum=0.5), views(make_batch)
    (_,) = train(task, [batch])
    one, other = (net.get_submodule("backbone.layer1.1") for net in (task, task.teacher))
    assert one.num_batches_tracked == other.num_batches_tracked == 1
    for norm, view in ((one, 0), (other, 1)):
        seen = make().get_submodule("backbone.layer1.0")(batch.views[view])
        torch.testing.assert_close(norm.running_mean, 0.1 * seen.mean((0, 2, 3)))


@pytest.mark.parametrize("symmetric", [False, True])
def test_who_takes_gradients(symmetric, make_batch, at):
    """The trunk none of the probe's, the momentum encoder and the queue none at all; all that is trained takes some."""
    task, batch = make(symmetric=symmetric, norm="hidden"), views(make_batch)
    task.requires_grad_(True)  # whoever may have asked for it
    report = task(batch, at())
    report["loss"].backward()
    mine = {name: p.grad for name, p in task.named_parameters()}
    assert all(value is None for name, value in mine.items() if name.startswith("teacher."))
    assert all(value is not None for name, value in mine.items() if not name.startswith("teacher."))
    task.zero_grad()
    task(batch, at())["loss_ssl"].backward()
    for name, p in task.named_parameters():
        if name.startswith("probe."):
            assert p.grad is None
        elif not name.startswith("teacher."):
            torch.testing.assert_close(p.grad, mine[name])


def test_the_groups(make_batch):
    task = make()
    encoder, probe = task.parameter_groups()
    assert (encoder["name"], probe["name"]) == ("encoder", "probe")
    names = {id(p): name for name, p in task.named_parameters()}
    assert {names[id(p)].split(".")[0] for p in encoder["params"]} == {"backbone", "projector"}
    assert {names[id(p)] for p in probe["params"]} == {"probe.fc.weight", "probe.fc.bias"}


# Parts of a batch


def keys_by_hand(task, images, order, splits):
    """Return the keys of images that BatchNorm sees in parts: image i of the order is in part i % splits."""
    projected = torch.empty(len(images), 4)
    for part in range(splits):
        teacher = make(norm="hidden").teacher  # as the task's began
        index = order[part::splits]
        projected[index] = teacher["projector"](teacher["neck"](teacher["backbone"](images[index])))
    return F.normalize(projected, dim=1)


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "splits", "shuffled"),
    [
        ({"splits": 2}, 2, True),
        ({"splits": 2, "shuffle": False}, 2, False),
        ({"splits": 2, "key_splits": 4}, 4, True),
        ({"splits": 2, "key_splits": 1}, 1, False),
        ({"splits": 4, "key_splits": 0}, 1, False),
        ({}, 1, False),
    ],
)
def test_keys_come_back_in_order_from_parts_that_are_others(options, splits, shuffled, make_batch, at):
    task, images = make(norm="hidden", **options), make_batch(8).images
    order = torch.arange(8)
    if shuffled:
        order = torch.randperm(8, generator=generator_for(0, "shuffle 0", 5, 2))
    expected = keys_by_hand(task, images, order, splits)
    found = task.keys((images,), 0, 1, at(step=5, shard=2))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    if shuffled:
        assert (found - keys_by_hand(task, images, torch.arange(8), splits)).abs().max() > 1e-2


def test_which_norms_see_parts(make_batch):
    """Backbone and projector, of queries and of keys, each as many as it is told."""
    task = make(norm="hidden", splits=2, key_splits=4)
    found = {name: m.splits for name, m in task.named_modules() if isinstance(m, SplitBatchNorm)}
    assert sorted(set(found.values())) == [2, 4]
    assert {splits for name, splits in found.items() if name.startswith("teacher.")} == {4}
    assert len(found) == 2 * (4 + 1)
    assert make(norm="hidden").state_dict().keys() == task.state_dict().keys()
    one = make(norm="hidden", key_splits=4)
    assert not any(isinstance(m, SplitBatchNorm) for m in one.backbone.modules())


# Odd circumstances


def test_one_image_two_sizes_and_channels_last(make_batch, at):
    task, batch = make(), make_batch(1, side=8)
    batch = batch.with_views(batch.images, make_batch(1, side=6, seed=4).images)
    report = task(batch, at())
    report["loss"].backward()
    assert report["loss"].isfinite()
    task, batch = make(splits=2), views(make_batch, size=6)
    loss = task(batch, at())["loss"]
    same = make(splits=2).to(memory_format=torch.channels_last)
    lasts = batch.with_views(*(view.contiguous(memory_format=torch.channels_last) for view in batch.views))
    torch.testing.assert_close(same(lasts, at())["loss"], loss, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_autocast(symmetric, make_batch, at):
    task, batch = make(norm="hidden", symmetric=symmetric), views(make_batch)
    exact = task(batch, at())["loss_ssl"]
    other = make(norm="hidden", symmetric=symmetric)
    with torch.autocast("cpu", torch.bfloat16):
        report = other(batch, at())
    report["loss"].backward()
    other.after_step(at())
    assert report["loss_ssl"].dtype == other.queue.features.dtype == torch.float32
    assert report["loss_ssl"].item() == pytest.approx(exact.item(), abs=0.1)
    assert all(p.grad is not None for p in other.parameters() if p.requires_grad)


def test_a_validation_leaves_no_keys_behind(make_batch, at):
    task, batch = make(), views(make_batch)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    task.eval()
    task(batch, at())
    assert task.predict(batch.images).shape == (4, 5)
    task.queue.push(torch.empty(0, 4))
    assert task._keys == []
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_it_begins_with_given_weights_everywhere():
    task, other = make(seed=1), make(seed=2)
    task.backbone.load_state_dict(other.backbone.state_dict())
    task.begin()
    for name, value in task.teacher["backbone"].state_dict().items():
        assert torch.equal(value, other.backbone.state_dict()[name])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": 0}, "temperature must be a number above 0"),
        ({"momentum": 1.5}, r"momentum must be a number in \[0, 1\]"),
        ({"momentum": 0.9, "momentum_end": 0.5}, "momentum_end must be at least momentum"),
        ({"splits": 0}, "splits must be an integer of at least 1"),
        ({"key_splits": -1}, "key_splits must be an integer of at least 0"),
        ({"queue_size": 0}, "queue_size must be an integer of at least 1"),
        ({"symmetric": 1}, "symmetric must be True or False"),
        ({"shuffle": None}, "shuffle must be True or False"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        make(**options)


def test_views_and_batches_that_are_refused(make_batch, at):
    with pytest.raises(ValueError, match="MoCo needs 2 views of each image, the pipeline gives 1"):
        make()(make_batch(), at())
    with pytest.raises(ValueError, match=r"MoCo with symmetric=True compares 2 views of each image.* gives 3"):
        make(symmetric=True)(views(make_batch, 3), at())
    with pytest.raises(UserError, match="a batch of 6 images cannot be divided into splits=4"):
        make(splits=4)(views(make_batch, size=6), at())
    with pytest.raises(ValueError, match="projector must say what it gives"):
        MoCo(Plain(), ClsHead(5, 6), nn.Linear(6, 4))


def test_how_it_may_lie_on_processes():
    with pytest.raises(UserError, match="FullyShard is not for this task: MoCo moves networks of its own"):
        check_division({"model_wrapper_cfg": {"type": "FullyShard"}}, make(Plain()))
    check_sync_bn({"sync_bn": "torch"}, make())
    check_sync_bn({}, make(splits=2))
    for options in ({"splits": 2}, {"key_splits": 2}):
        with pytest.raises(UserError, match=r"sync_bn lets BatchNorm see .* and splits=2 a part of one"):
            check_sync_bn({"sync_bn": "torch"}, make(**options))
