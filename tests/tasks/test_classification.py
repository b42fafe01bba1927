"""The baseline, against its definition."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from openmix.models import ClsHead, ConvNet
from openmix.tasks import Classification, Task


@pytest.fixture
def task():
    torch.manual_seed(0)
    head = ClsHead(num_classes=5, in_channels=8)
    nn.init.normal_(head.fc.weight)
    return Classification(ConvNet((4, 8)), head)


def logits_by_hand(task, images):
    features = task.backbone.layer2(task.backbone.layer1(images))
    batch, channels = features.shape[:2]
    pooled = features.reshape(batch, channels, -1).sum(2) / features[0, 0].numel()
    return pooled @ task.head.fc.weight.T + task.head.fc.bias


def test_loss_and_accuracy(task, make_batch, at):
    batch = make_batch(16)
    logits = logits_by_hand(task, batch.images)
    report = task(batch, at())
    assert set(report) == {"loss", "top1"}
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    by_hand = -sum(log_p[i, label] for i, label in enumerate(batch.labels.tolist())) / 16
    torch.testing.assert_close(report["loss"], by_hand)
    hits = [row.index(max(row)) == label for row, label in zip(logits.tolist(), batch.labels.tolist(), strict=True)]
    assert report["top1"].item() == pytest.approx(100 * sum(hits) / 16)
    assert 0 < sum(hits) < 16, "the test could not tell"
    assert not report["top1"].requires_grad


def test_all_right_is_a_hundred(make_batch, at, raw):
    task = Classification(raw, ClsHead(num_classes=3, in_channels=3))
    nn.init.eye_(task.head.fc.weight)
    batch = make_batch(3, classes=3)
    images = F.one_hot(batch.labels, 3).float()[:, :, None, None].expand(3, 3, 4, 4)
    assert task(batch.with_views(images), at())["top1"] == 100


def test_predict_is_what_the_loss_is_computed_on(task, make_batch):
    batch = make_batch()
    torch.testing.assert_close(task.predict(batch.images), logits_by_hand(task, batch.images))


def test_another_neck(make_batch, at):
    class Largest(nn.Module):
        def forward(self, features):
            return features[0].amax((2, 3))

    task = Classification(ConvNet((4, 8)), ClsHead(num_classes=5, in_channels=4), neck=Largest())
    images = make_batch().images
    expected = task.head(task.backbone.layer1(images).amax((2, 3)))
    torch.testing.assert_close(task.predict(images), expected)


def test_what_is_trained(task):
    task.backbone.layer1.requires_grad_(False)
    (group,) = task.parameter_groups()
    trained = {id(p) for p in group["params"]}
    frozen = {id(p) for p in task.backbone.layer1.parameters()}
    assert trained == {id(p) for p in task.parameters()} - frozen
    assert task.num_classes == 5
    assert task.after_step(None) is None


def test_a_task_has_to_say_what_it_computes(make_batch, at):
    with pytest.raises(NotImplementedError):
        Task().predict(make_batch().images)
    with pytest.raises(NotImplementedError):
        Task()(make_batch(), at())
