"""Evaluation gives the metrics of the whole set, in float32, and leaves the model as it was."""

import logging
import math

import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score

from openmix.data import Digits, ResidentLoader, Synthetic, TorchLoader
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World
from openmix.engine.evaluate import evaluate
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.models import ClsHead, ConvNet
from openmix.tasks import Classification, Task

DAMAGE = DamageLog(logging.getLogger(), World())


@pytest.fixture(scope="module")
def trained() -> Classification:
    """A network that has learnt a little, so that its figures are no round ones."""
    torch.manual_seed(0)
    task = Classification(ConvNet([4, 8], in_channels=1), ClsHead(10, 8))
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1, momentum=0.9)
    train = Digits("train", size=8)
    for _ in range(40):
        loss = task.head.loss(task.predict(train.images.float() / 255), train.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return task


@pytest.mark.parametrize("loader", [ResidentLoader, TorchLoader])
@pytest.mark.parametrize("batch_size", [7, 64, 1000])
def test_metrics_are_scikit_learns(trained, loader, batch_size):
    val = Digits("val", size=8)
    metrics = evaluate(
        trained, loader(val, batch_size), Normalize(Preprocessor()), DamageLog(logging.getLogger(), World())
    )
    with torch.no_grad():
        logits = trained.eval().predict(val.images.float() / 255)
    trained.train()
    probabilities, labels = logits.double().softmax(1).numpy(), val.labels.numpy()
    classes = list(range(10))
    assert 20 < metrics["top1"] < 99
    assert metrics["n"] == 500
    assert metrics["top1"] == pytest.approx(100 * top_k_accuracy_score(labels, probabilities, k=1, labels=classes))
    assert metrics["top5"] == pytest.approx(100 * top_k_accuracy_score(labels, probabilities, k=5, labels=classes))
    assert metrics["nll"] == pytest.approx(log_loss(labels, probabilities, labels=classes), rel=1e-5)
    assert 0 < metrics["ece"] < 1


class Several(Task):
    """Networks of given logits, by name; the images are told apart by their first pixel."""

    def __init__(self, logits: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.logits, self.asked = logits, 0

    def predictions(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        self.asked += len(images)
        number = images[:, 0, 0, 0].mul(255).round().long()
        return {name: logits[number] for name, logits in self.logits.items()}


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_several_networks(batch_size):
    """The first as if it were alone; of every other its top-1, from one pass over the data."""
    data, generator = Synthetic(4, (1, 4, 4), 50), torch.Generator().manual_seed(1)
    data.images[:, 0, 0, 0] = torch.arange(50)
    logits = {name: torch.randn(50, 4, generator=generator) for name in ("q", "k", "mean")}
    for name, right in (("k", 20), ("mean", 10)):
        logits[name][:right] = torch.nn.functional.one_hot(data.labels[:right], 4) * 9.0
    task, alone = Several(logits), Several({"": logits["q"]})
    loader = ResidentLoader(data, batch_size)
    metrics = evaluate(task, loader, Normalize(Preprocessor()), DAMAGE)
    assert task.asked == 50
    expected = evaluate(alone, loader, Normalize(Preprocessor()), DAMAGE)
    assert list(expected) == ["top1", "top5", "nll", "ece", "n"]
    assert list(metrics) == [*expected, "top1_k", "top1_mean"]
    assert {name: metrics[name] for name in expected} == expected
    for name in ("k", "mean"):
        assert metrics[f"top1_{name}"] == pytest.approx(
            100 * sum(row.argmax() == label for row, label in zip(logits[name], data.labels, strict=True)) / 50
        )
    assert len({metrics["top1"], metrics["top1_k"], metrics["top1_mean"]}) == 3


@pytest.mark.parametrize("batch_size", [4, 30])
def test_several_networks_on_several_processes(ranks, batch_size):
    """The same to the last bit, on every one of them; some have no batch of their own, and do not ask the task."""
    (alone,) = ranks(1, "evaluate_two_networks", batch_size=batch_size)
    assert 0 < alone["top1"] != alone["top1_k"] > 0
    assert ranks(3, "evaluate_two_networks", batch_size=batch_size) == [alone] * 3


def test_model_is_left_in_its_mode_and_without_gradients(trained):
    loader = ResidentLoader(Digits("val", size=8).take(9), 4)
    before = {k: v.clone() for k, v in trained.state_dict().items()}
    for mode in (True, False):
        trained.train(mode)
        evaluate(trained, loader, Normalize(Preprocessor()), DAMAGE)
        assert trained.training is mode
        assert trained.backbone.layer1.training is mode
    assert all(torch.equal(before[k], v) for k, v in trained.state_dict().items())
    trained.train()


def test_a_network_that_has_diverged_does_not_look_good(trained):
    broken = Classification(ConvNet([4], in_channels=1), ClsHead(10, 4))
    torch.nn.init.constant_(broken.head.fc.weight, math.nan)
    metrics = evaluate(
        broken,
        ResidentLoader(Digits("val", size=8), 100),
        Normalize(Preprocessor()),
        DamageLog(logging.getLogger(), World()),
    )
    assert math.isnan(metrics["nll"])
    assert math.isnan(metrics["ece"])
