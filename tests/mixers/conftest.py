"""Batches and readings that the tests of all methods share."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


@pytest.fixture
def make_batch() -> Callable[..., tuple[Tensor, Tensor]]:
    """Random images, and labels that differ from the image's own number."""

    def make(batch=5, channels=3, height=24, width=32, dtype=torch.float32, seed=7) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(batch, channels, height, width, generator=generator).to(dtype)
        return images, (torch.arange(batch) * 7 + 3) % 10

    return make


@pytest.fixture
def make_coordinates() -> Callable[[int, int, int], Tensor]:
    """Images (B,3,H,W) whose pixels say where they come from: image number, row, column."""

    def make(batch: int, height: int, width: int) -> Tensor:
        axes = torch.meshgrid(torch.arange(batch), torch.arange(height), torch.arange(width), indexing="ij")
        return torch.stack(axes, dim=1).float()

    return make


@pytest.fixture
def find_box() -> Callable[[Tensor], tuple[int, int, int, int] | None]:
    """Read ``(y0, y1, x0, x1)`` back from one own mask (H,W): it is 0 in one full rectangle and 1 elsewhere."""

    def find(own: Tensor) -> tuple[int, int, int, int] | None:
        pasted = (own == 0).nonzero().tolist()
        assert int((own == 1).sum()) + len(pasted) == own.numel(), "an own mask of a box method is 0 or 1"
        if not pasted:
            return None
        rows, columns = [p[0] for p in pasted], [p[1] for p in pasted]
        box = (min(rows), max(rows) + 1, min(columns), max(columns) + 1)
        assert len(pasted) == (box[1] - box[0]) * (box[3] - box[2]), "the pasted region is a full rectangle"
        return box

    return find
