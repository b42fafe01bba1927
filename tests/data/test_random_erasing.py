"""The erased rectangle has the colour that was asked for, and everything else is left alone."""

import pytest
import torch

from openmix.data.transforms import RandomErasing
from openmix.errors import UserError


@pytest.mark.parametrize("value", [7.0, [10, 20, 30]])
def test_it_erases_one_rectangle_with_the_colour(value):
    colour = torch.tensor(value if isinstance(value, list) else [value] * 3, dtype=torch.uint8)
    image = torch.full((3, 40, 40), 200, dtype=torch.uint8)
    erase = RandomErasing(1.0, scale=(0.1, 0.3), value=value)
    torch.manual_seed(0)
    for _ in range(20):
        out = erase(image)
        erased = (out == colour[:, None, None]).all(0)
        rows, columns = erased.any(1).nonzero(), erased.any(0).nonzero()
        assert erased.sum() == len(rows) * len(columns) and 0.08 < erased.float().mean() < 0.32
        assert out[:, ~erased].unique().tolist() == [200]


def test_how_often():
    image, erase = torch.full((1, 8, 8), 9, dtype=torch.uint8), RandomErasing(0.25)
    torch.manual_seed(0)
    assert sum(not torch.equal(erase(image), image) for _ in range(1000)) == pytest.approx(250, abs=45)


@pytest.mark.parametrize("value", [-3, 300, 255.5, float("nan"), [0, 256, 0], [-1.0, 0.0, 0.0]])
def test_what_is_no_colour_is_refused(value):
    with pytest.raises(UserError, match=r"value must be in 0\.\.255, one for all channels or one for each, got "):
        RandomErasing(value=value)


@pytest.mark.parametrize("value", [0, 255, [255, 0, 127.5]])
def test_the_whole_range_is_taken(value):
    RandomErasing(value=value)
