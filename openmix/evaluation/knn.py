"""Classification by the nearest training images in feature space: what features are worth, without training anything.

Wu et al., CVPR 2018, arXiv:1805.01978, section 3.4, and the figure that contrastive learning on CIFAR is judged by.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["WeightedKNN"]

NUMBERS_AT_ONCE = 2**26  # of similarities, or votes, in memory: 256 MiB


class WeightedKNN:
    """Let each query's k most similar images vote for their classes, with weights exp(cosine / T).

    It computes on the bank's device, in float32, or in float64 where the features are. Where the k-th place is tied,
    who votes is ``torch.topk``'s choice, the same for equal inputs on equal hardware; of tied classes the one of lower
    number wins. A query whose similarities are no numbers, as a network that diverged has them, is of class -1.

    Args:
        bank: features (N, C) of labelled images; they need not be normalised. Zeros are as similar to everything.
        labels: their classes, int64 (N,).
        num_classes: how many classes there are.
        k: how many vote; 200 is Wu et al.'s.
        temperature: T, above 0. Default 0.1, as MoCo's CIFAR demo has it (Wu et al.: 0.07). Below about 0.01 the
            nearest one decides alone.

    Raises:
        ValueError: k is below 1 or larger than the bank; the temperature is not above 0.

    >>> bank = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    >>> knn = WeightedKNN(bank, torch.tensor([0, 0, 1]), num_classes=2, k=2)
    >>> knn.predict(torch.tensor([[5.0, 1.0], [0.0, 2.0]])).tolist()
    [0, 1]
    """

    def __init__(self, bank: Tensor, labels: Tensor, num_classes: int, k: int = 200, temperature: float = 0.1) -> None:
        if not 1 <= k <= len(bank):
            raise ValueError(f"k must be from 1 to the {len(bank):,} images of the bank, got {k}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.bank = _unit(bank)
        self.labels, self.num_classes = labels, num_classes
        self.k, self.temperature = k, temperature
        # a function of the bank alone, so that a query is never computed otherwise for being among others
        self.chunk = max(1, NUMBERS_AT_ONCE // max(len(bank), k * num_classes))

    def votes(self, queries: Tensor) -> Tensor:
        """Return each class's votes (B, num_classes) for features (B, C), divided by exp(largest cosine / T)."""
        return torch.cat([self._votes(rows) for rows in queries.split(self.chunk)])

    def predict(self, queries: Tensor) -> Tensor:
        """Return the classes, int64 (B,), of features (B, C)."""
        votes = self.votes(queries)
        return votes.argmax(1).masked_fill(~votes.isfinite().all(1), -1)

    def _votes(self, queries: Tensor) -> Tensor:
        nearest, who = (_unit(queries) @ self.bank.T).topk(self.k)
        weights = ((nearest - nearest[:, :1]) / self.temperature).exp()  # at most 1, at any temperature
        classes = F.one_hot(self.labels[who], self.num_classes).to(weights.dtype)
        return (weights[:, None] @ classes)[:, 0]  # a product, not scatter_add, whose order of summing varies on GPUs


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features if features.dtype == torch.float64 else features.float(), dim=1)
