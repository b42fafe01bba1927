"""The nearest images' votes against scikit-learn's and against a loop over pairs."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from openmix.data import Digits
from openmix.evaluation import WeightedKNN

CIFAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"


def pixels(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1).double() / 255


def scikit_learn(bank, labels, queries, k, temperature):
    """Return scikit-learn's classes, and whether the votes of each query's best two are apart."""
    known = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / temperature)
    ).fit(bank.numpy(), labels.numpy())
    two = np.sort(known.predict_proba(queries.numpy()), axis=1)[:, -2:]
    return torch.from_numpy(known.predict(queries.numpy())), torch.from_numpy(two[:, 1] - two[:, 0] > 1e-5)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (5, 0.02), (20, 0.07), (200, 0.1), (500, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scikit_learn_predicts_the_same_digits(k, temperature, dtype):
    bank, test = Digits("val", size=8), Digits("test", size=8)
    expected, clear = scikit_learn(pixels(bank.images), bank.labels, pixels(test.images), k, temperature)
    knn = WeightedKNN(pixels(bank.images).to(dtype), bank.labels, 10, k, temperature)
    found = knn.predict(pixels(test.images).to(dtype))
    assert clear.double().mean() > 0.99
    assert torch.equal(found[clear], expected[clear])
    assert 0.8 < (found == test.labels).double().mean() < 1


def cifar(shard: str, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixels and labels of real CIFAR-10 images, of a mosaic of 100 x 100 of them."""
    mosaic = np.asarray(Image.open(CIFAR / f"{shard}.webp").convert("RGB"))
    images = mosaic.reshape(100, 32, 100, 32, 3).swapaxes(1, 2).reshape(-1, 32, 32, 3)[:count]
    labels = np.load(CIFAR / f"{shard}_labels.npy")[:count].astype(np.int64)
    return pixels(torch.tensor(images)), torch.tensor(labels)


@pytest.mark.skipif(not (CIFAR / "test.webp").is_file(), reason="CIFAR-10 is not at ../shared/data/cifar10")
def test_scikit_learn_predicts_the_same_of_raw_cifar_pixels():
    (bank, labels), (test, own) = cifar("train_1", 5000), cifar("test", 500)
    expected, clear = scikit_learn(bank, labels, test, 200, 0.1)
    found = WeightedKNN(bank.float(), labels, 10).predict(test.float())
    assert clear.double().mean() > 0.99
    assert torch.equal(found[clear], expected[clear])
    assert 0.2 < (found == own).double().mean() < 0.35


def by_loops(bank, labels, query, num_classes, k, temperature):
    """Return the votes for one query, by Python's own arithmetic."""

    def cosine(a, b):
        lengths = math.sqrt(math.fsum(v * v for v in a)) * math.sqrt(math.fsum(v * v for v in b))
        return math.fsum(v * w for v, w in zip(a, b, strict=True)) / lengths

    near = sorted(((cosine(query, row), label) for row, label in zip(bank, labels, strict=True)), reverse=True)[:k]
    return [math.fsum(math.exp(s / temperature) for s, of in near if of == c) for c in range(num_classes)]


@pytest.mark.parametrize("k", [1, 3, 17])
@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_votes_are_those_of_a_loop_in_chunks_of_any_size(k, chunk):
    generator = torch.Generator().manual_seed(k)
    bank = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    queries = torch.randn(10, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (40,), generator=generator)
    knn = WeightedKNN(bank, labels, 4, k, temperature=0.5)
    knn.chunk = chunk
    votes = knn.votes(queries)
    for row, query in zip(votes, queries.tolist(), strict=True):
        expected = torch.tensor(by_loops(bank.tolist(), labels.tolist(), query, 4, k, 0.5), dtype=torch.float64)
        torch.testing.assert_close(row / row.sum(), expected / expected.sum())
    assert torch.equal(knn.predict(queries), votes.argmax(1))


def test_lengths_of_features_do_not_matter():
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(50, 8, generator=generator), torch.randn(20, 8, generator=generator)
    labels = torch.randint(5, (50,), generator=generator)
    plain = WeightedKNN(bank, labels, 5, 7).votes(queries)
    scaled = WeightedKNN(bank * torch.arange(1, 51)[:, None], labels, 5, 7).votes(queries * 1e3)
    torch.testing.assert_close(plain, scaled)
    half = WeightedKNN(bank.bfloat16(), labels, 5, 7)
    assert half.bank.dtype == half.votes(queries.bfloat16()).dtype == torch.float32


def test_a_tiny_temperature_is_the_nearest_neighbour():
    """exp(1 / 0.001) is more than any float holds."""
    generator = torch.Generator().manual_seed(0)
    bank, queries = torch.randn(30, 4, generator=generator), torch.randn(9, 4, generator=generator)
    labels = torch.randint(3, (30,), generator=generator)
    cold = WeightedKNN(bank, labels, 3, 30, temperature=1e-3).predict(queries)
    assert torch.equal(cold, WeightedKNN(bank, labels, 3, 1).predict(queries))


def test_ties_go_to_the_lower_class():
    bank = torch.eye(4)
    knn = WeightedKNN(bank, torch.tensor([3, 1, 2, 2]), 4, k=2)
    assert knn.predict(torch.tensor([[1.0, 1.0, 0.0, 0.0]])).tolist() == [1]


def test_features_that_are_no_numbers_are_of_no_class():
    bank, labels = torch.eye(3), torch.tensor([0, 1, 2])
    queries = torch.tensor([[math.nan, 0, 0], [math.inf, 0, 0], [0, 1.0, 0], [0.0, 0, 0]])
    assert WeightedKNN(bank, labels, 3, 1).predict(queries).tolist()[:3] == [-1, -1, 1]
    bank[1, 1] = math.nan
    assert WeightedKNN(bank, labels, 3, 1).predict(queries).tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"k": 0}, "from 1 to the 3 images"), ({"k": 4}, "got 4"), ({"k": 1, "temperature": 0.0}, "temperature")],
)
def test_what_cannot_be(arguments, named):
    with pytest.raises(ValueError, match=named):
        WeightedKNN(torch.eye(3), torch.arange(3), 3, **arguments)
