"""Accuracy and likelihood against scikit-learn and sums in Python, where the inputs are easy and where they are not."""

import math

import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score

from openmix.evaluation import image_scores, summarise

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("classes", [6, 10, 100])
def test_scikit_learn_agrees(classes):
    generator = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (500,), generator=generator)
    logits = torch.randn(500, classes, generator=generator, dtype=torch.float64) * 2
    logits[torch.arange(500), labels] += 1
    metrics = summarise(image_scores(logits, labels))
    known, p = list(range(classes)), logits.softmax(1).numpy()
    for k in (1, 5):
        expected = 100 * top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k, labels=known)
        assert metrics[f"top{k}"] == pytest.approx(expected)
    assert metrics["nll"] == pytest.approx(log_loss(labels.numpy(), p, labels=known))


@pytest.mark.parametrize("classes", [1, 2, 4, 5])
def test_with_five_classes_or_fewer_all_are_within_five(classes):
    generator = torch.Generator().manual_seed(classes)
    scores = image_scores(
        torch.randn(50, classes, generator=generator), torch.randint(classes, (50,), generator=generator)
    )
    assert (scores[:, 1] == 1).all()
    if classes > 1:
        assert 0 < scores[:, 0].mean() < 1


def nll_by_hand(row: list[float], label: int) -> float:
    top = max(row)
    return top + math.log(math.fsum(math.exp(v - top) for v in row)) - row[label]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 30.0, 1e4, 1e30, 3e38])
def test_any_logits_that_float32_holds(scale):
    generator = torch.Generator().manual_seed(1)
    logits = (torch.rand(40, 7, generator=generator) * 2 - 1) * scale
    labels = torch.randint(7, (40,), generator=generator)
    scores = image_scores(logits, labels).tolist()
    for row, label, (_, _, nll, confidence) in zip(logits.double().tolist(), labels.tolist(), scores, strict=True):
        assert nll == pytest.approx(nll_by_hand(row, label), rel=1e-9, abs=1e-12)
        assert confidence == pytest.approx(math.exp(-min(nll_by_hand(row, c) for c in range(7))))
        assert 1 / 7 - 1e-9 <= confidence <= 1


def test_logits_are_not_rounded():
    """Neighbouring float32 numbers far from zero are still told apart."""
    high = torch.tensor(1e7)
    below = torch.nextafter(high, torch.tensor(0.0))
    scores = image_scores(torch.stack([high, below])[None], torch.tensor([1]))
    assert scores[0, 0] == 0 and image_scores(torch.stack([below, high])[None], torch.tensor([1]))[0, 0] == 1


def test_a_class_ruled_out():
    """A logit of minus infinity is a probability of 0: no error, but an infinite loss where it is the label's."""
    logits = torch.tensor([[0.0, -INF, 0.0], [0.0, -INF, 0.0]])
    scores = image_scores(logits, torch.tensor([0, 1]))
    assert scores[0].tolist() == pytest.approx([1, 1, math.log(2), 0.5])
    assert scores[1].tolist() == pytest.approx([0, 1, INF, 0.5])


@pytest.mark.parametrize("classes", [3, 8])
@pytest.mark.parametrize("value", [NAN, INF])
@pytest.mark.parametrize("where", ["own", "other", "all"])
def test_undefined_predictions_are_wrong(where, value, classes):
    """Every comparison with NaN is false, so that a careless rank is 0: 100 % for a dead network."""
    logits = torch.zeros(2, classes)
    logits[0, 1] = logits[1, 1] = 5.0
    broken = {"own": slice(1, 2), "other": slice(0, 1), "all": slice(None)}[where]
    logits[0, broken] = value
    scores = image_scores(logits, torch.tensor([1, 1]))
    assert scores[0, :2].tolist() == [0, 0]
    assert scores[0, 2:].isnan().all()
    assert scores[1, :2].tolist() == [1, 1] and scores[1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_diverged_network_is_not_a_success(dtype):
    metrics = summarise(image_scores(torch.full((20, 10), NAN, dtype=dtype), torch.arange(20) % 10))
    assert metrics["top1"] == metrics["top5"] == 0
    assert math.isnan(metrics["nll"]) and math.isnan(metrics["ece"])
    assert metrics["n"] == 20


def test_one_undefined_image_shows_in_the_summary():
    logits, labels = torch.eye(10) * 9, torch.arange(10)
    logits[3] = NAN
    metrics = summarise(image_scores(logits, labels))
    assert metrics["top1"] == metrics["top5"] == 90
    assert math.isnan(metrics["nll"]) and math.isnan(metrics["ece"])


def test_the_order_and_grouping_of_images_does_not_matter():
    """Scores are per image: batches of any size give the same rows."""
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(30, 12, generator=generator), torch.randint(12, (30,), generator=generator)
    whole = image_scores(logits, labels)
    parts = [image_scores(logits[i : i + 7], labels[i : i + 7]) for i in range(0, 30, 7)]
    assert torch.equal(torch.cat(parts), whole)
    assert [type(v) for v in summarise(whole).values()] == [float, float, float, float, int]
