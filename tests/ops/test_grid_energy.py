"""A grid's energy against its definition, and what it refuses."""

import pytest
import torch

from openmix.ops.grid_energy import GridEnergy


def energy(batch=3, n=4, n_labels=3):
    g = torch.Generator().manual_seed(0)
    shapes = (batch, n, n, n_labels), (batch, n, n - 1), (batch, n - 1, n)
    return GridEnergy(*(torch.rand(shape, generator=g) for shape in shapes))


@pytest.mark.parametrize("n_labels", [2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_sum_over_cells_and_neighbours(n, n_labels):
    e = energy(3, n, n_labels)
    labels = torch.randint(n_labels, (3, n, n), generator=torch.Generator().manual_seed(1))
    for b, found in enumerate(e.of(labels).tolist()):
        z = labels[b].tolist()
        expected = 0.0
        for i in range(n):
            for j in range(n):
                expected += float(e.unary[b, i, j, z[i][j]])
                if j + 1 < n:
                    expected += float(e.right[b, i, j]) * ((z[i][j] - z[i][j + 1]) / (n_labels - 1)) ** 2
                if i + 1 < n:
                    expected += float(e.down[b, i, j]) * ((z[i][j] - z[i + 1][j]) / (n_labels - 1)) ** 2
        assert found == pytest.approx(expected, rel=1e-6)


def test_shapes_that_do_not_belong_together():
    e = energy()
    with pytest.raises(ValueError, match=r"unary must be \(B, n, n, L\) .* got \(3, 4, 3, 3\)"):
        GridEnergy(e.unary[:, :, :3], e.right, e.down)
    with pytest.raises(ValueError, match="L >= 2"):
        GridEnergy(e.unary[..., :1], e.right, e.down)
    with pytest.raises(ValueError, match=r"right must be \(3, 4, 3\) beside a unary of .*, got \(3, 3, 4\)"):
        GridEnergy(e.unary, e.down, e.right)
    with pytest.raises(ValueError, match=r"down must be \(3, 3, 4\)"):
        GridEnergy(e.unary, e.right, e.down[:2])
    with pytest.raises(ValueError, match="must be float32"):
        GridEnergy(e.unary.double(), e.right, e.down)
