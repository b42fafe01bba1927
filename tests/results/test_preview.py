import matplotlib.image
import numpy as np
import pytest
import torch

import openmix
from openmix.ops.target import Mixed, MixTarget
from openmix.results.preview import draw_grid, spell_target


def batch(channels=3):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(4, channels, 8, 8, generator=generator), torch.arange(4)


def test_titles_name_the_own_share_first():
    images, _ = batch()
    target = MixTarget(torch.tensor([[1, 2]] * 4), torch.tensor([[0.625, 0.375]] * 4))
    mixed = Mixed(images, target, plan=None)
    assert spell_target(mixed, 0, ["ant", "bee", "cat"]) == "bee: λ = 0.62\ncat: 0.38"


def test_an_image_left_alone_has_one_line():
    mixed = openmix.Vanilla()(*batch())
    assert spell_target(mixed, 3, "abcd") == "d: λ = 1.00"


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_shows_every_row_and_column(tmp_path, channels):
    images, labels = batch(channels)
    rows = [(name, [openmix.build_mixer(name)(images, labels)] * 3) for name in ("mixup", "cutmix")]
    draw_grid(rows, "abcd", tmp_path / "new" / "grid.png")
    picture = matplotlib.image.imread(tmp_path / "new" / "grid.png")[..., :3]
    # six panels of noise on white: count the runs of columns and rows that are not white
    busy = (picture < 0.9).all(2) if channels == 1 else (picture < 0.9).any(2)
    panels = busy[:, int(busy.shape[1] * 0.3) :].mean(0) > 0.3
    assert np.diff(panels.astype(int)).clip(0).sum() >= 2
    assert np.diff((busy.mean(1) > 0.3).astype(int)).clip(0).sum() == 2


def test_left_out_of_range_values_do_not_warn(tmp_path):
    images, labels = batch()
    draw_grid([("vanilla", [openmix.Vanilla()(images * 3 - 1, labels)])], "abcd", tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 1000
