"""Plans that move blocks, against loops over pixels."""

import pytest
import torch
from torch import Tensor

from openmix.ops.move_plans import MovePlan, block_of_lines


def drawn(batch: int, n: int, height: int, width: int, seed: int = 0) -> tuple[MovePlan, Tensor]:
    g = torch.Generator().manual_seed(seed)
    own, other = (torch.stack([torch.randperm(n * n, generator=g) for _ in range(batch)]) for _ in range(2))
    lam = torch.randint(3, (batch, 1, n, n), generator=g) / 2
    plan = MovePlan(torch.randperm(batch, generator=g), lam, own, other, (height, width))
    return plan, torch.rand(batch, 3, height, width, generator=g)


def lines_of(side: int, n: int) -> list[list[int]]:
    """The lines of each block, those that begin in its n-th of the side."""
    return [[y for y in range(side) if i <= y * n / side < i + 1] for i in range(n)]


def by_loops(plan: MovePlan, x: Tensor) -> Tensor:
    n, (height, width) = plan.lam.shape[2], plan.size
    rows, columns = lines_of(height, n), lines_of(width, n)
    result = torch.empty_like(x)
    for b in range(len(x)):
        for place in range(n * n):
            i, j = divmod(place, n)
            shown = []
            for image, source in ((x[b], plan.own[b, place]), (x[plan.partner[b]], plan.other[b, place])):
                k, m = divmod(int(source), n)
                # a place that is larger than the block shows its last line once more
                y = [rows[k][min(t, len(rows[k]) - 1)] for t in range(len(rows[i]))]
                z = [columns[m][min(t, len(columns[m]) - 1)] for t in range(len(columns[j]))]
                shown.append(image[:, y][:, :, z])
            lam = plan.lam[b, 0, i, j]
            block = lam * shown[0] + (1 - lam) * shown[1]
            result[b, :, rows[i][0] : rows[i][-1] + 1, columns[j][0] : columns[j][-1] + 1] = block
    return result


SIZES = [(2, 8, 8), (4, 16, 24), (4, 12, 8), (3, 9, 12), (8, 8, 16), (2, 7, 9), (4, 33, 47), (4, 16, 18), (3, 3, 5)]


@pytest.mark.parametrize(("n", "height", "width"), SIZES)
def test_blocks_are_moved_and_blended_as_by_loops(n, height, width):
    plan, x = drawn(5, n, height, width)
    torch.testing.assert_close(plan.apply(x), by_loops(plan, x), rtol=0, atol=1e-6)
    last = x.contiguous(memory_format=torch.channels_last)
    mixed = plan.apply(last)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixed, plan.apply(x))


@pytest.mark.parametrize(("n", "height", "width"), SIZES)
def test_weights_are_what_is_visible(n, height, width):
    """Each image is a constant, the power of two of its number: the mean says how much is seen of which."""
    plan, x = drawn(5, n, height, width)
    constant = (
        torch.zeros_like(x, dtype=torch.float64) + (1000.0 ** torch.arange(5, dtype=torch.float64))[:, None, None, None]
    )
    for b, mean in enumerate(plan.apply(constant).mean((1, 2, 3)).tolist()):
        seen = sum(float(plan.weights[b, k]) * 1000.0 ** int(plan.sources[b, k]) for k in range(2))
        assert mean == pytest.approx(seen, rel=1e-6)


def test_half_precision_is_blended_in_single():
    plan, x = drawn(4, 4, 16, 16)
    half = x.bfloat16()
    assert torch.equal(plan.apply(half), plan.apply(half.float()).bfloat16())


def test_integers_and_other_sizes_are_refused():
    plan, x = drawn(4, 4, 16, 16)
    with pytest.raises(TypeError, match=r"cannot blend torch\.int64"):
        plan.apply(x.long(), "nearest")
    for wrong in (x[:3], x[:, :, :8], x[0]):
        with pytest.raises(ValueError, match="drawn for a tensor"):
            plan.apply(wrong)


def test_there_are_no_masks_where_content_is_moved():
    plan, _ = drawn(4, 4, 16, 16)
    assert plan.masks is None
    assert plan.sources.tolist() == [[b, int(plan.partner[b])] for b in range(4)]


@pytest.mark.parametrize(("side", "n"), [(8, 2), (7, 2), (33, 4), (47, 16), (5, 5)])
def test_blocks_differ_by_a_line_at_most(side, n):
    block = block_of_lines(side, n, torch.device("cpu"))
    counts = block.bincount(minlength=n).tolist()
    assert sum(counts) == side and max(counts) - min(counts) <= 1
    assert bool((block.diff() >= 0).all())
    assert [(block == i).nonzero()[:, 0].tolist() for i in range(n)] == lines_of(side, n)
