"""CropMix's draws against the paper's notes, torchvision's own crops, and folding by hand."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from openmix.data.transforms.crop_boxes import NUMBERS_A_BOX, boxes_from
from openmix.data.transforms.cropmix_plan import (
    PERMUTATIONS,
    draw_plans,
    fold_permutations,
    fold_shares,
    owner_at,
    visible,
)  # fmt: skip
from openmix.data.transforms.cropmix_settings import CropMixSettings
from openmix.data.transforms.cropmix_single import Plan, draw_plan
from openmix.errors import UserError

MANY = 40_000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn_boxes(heights, widths, low, high):
    numbers = torch.rand((len(heights), 1, NUMBERS_A_BOX), generator=seeded(), dtype=torch.float64)
    return boxes_from(heights, widths, low, high, numbers.numpy())


def plans_of(count=MANY, height=375, width=500, seed=0, **settings):
    sides = (torch.full((count,), side) for side in (height, width))
    return draw_plans(*sides, CropMixSettings(**settings), seeded(seed))


@pytest.mark.parametrize(
    ("number", "edges"),
    [(2, [0.01, 0.505, 1]), (3, [0.01, 0.34, 0.67, 1]), (4, [0.01, 0.2575, 0.505, 0.7525, 1])],
)
def test_bands_are_of_equal_width(number, edges):
    bands = CropMixSettings().bands(number)
    assert np.allclose(bands, list(itertools.pairwise(edges)))


def test_bands_as_published():
    published = CropMixSettings(scale=0.2, preset="as_published")
    assert np.allclose(published.bands(2), [(0.2, 0.4), (0.4, 1.0)])
    assert published.bands(3) == CropMixSettings(scale=0.2).bands(3)
    with pytest.raises(UserError, match="takes a scale of at most 1/3, not"):
        CropMixSettings(scale=0.5, number=2, preset="as_published")
    CropMixSettings(scale=0.5, number=3, preset="as_published")


def test_each_image_has_a_number_of_its_own():
    counts = torch.bincount(plans_of().number, minlength=5)
    assert counts[:2].sum() == 0 and stats.chisquare(counts[2:]).pvalue > 0.001
    assert len(plans_of(50, preset="as_published").number.unique()) == 1
    seen = {int(plans_of(3, seed=seed, preset="as_published").number[0]) for seed in range(20)}
    assert seen == {2, 3, 4}


@pytest.mark.parametrize("operation", [0, 1])
@pytest.mark.parametrize(
    ("number", "means"), [(2, [1 / 2, 1 / 2, 0, 0]), (3, [1 / 4, 1 / 4, 1 / 2, 0]), (4, [1 / 8, 1 / 8, 1 / 4, 1 / 2])]
)
def test_the_last_view_weighs_most(operation, number, means):
    weights = plans_of(number=number, operation=operation).weights
    assert weights.dtype == torch.float32
    assert torch.allclose(weights.sum(1), torch.ones(MANY), atol=1e-5)
    assert np.allclose(weights.mean(0), means, atol=0.01)


@pytest.mark.parametrize(("number", "effective"), [(2, 1.65), (3, 1.83), (4, 1.81)])
def test_mixup_hardly_mixes(number, effective):
    plans = plans_of(number=number)
    largest = plans.weights.amax(1)
    assert (largest > 0.9).double().mean() == pytest.approx(0.67, abs=0.04)
    assert (plans.weights > 1 / 255).double().sum(1).mean() == pytest.approx(effective, abs=0.02)
    # next to none is kept that does not show by itself
    assert (plans.weights > 0).double().sum(1).mean() == pytest.approx(effective, abs=0.03)


@pytest.mark.parametrize(("number", "largest"), [(2, 0.73), (3, 0.64), (4, 0.62)])
def test_cutmix_mixes_more(number, largest):
    plans = plans_of(number=number, operation=1)
    y0, y1, x0, x1 = plans.pasted[:, 0].unbind(1)
    areas = ((y1 - y0) * (x1 - x0)).double() / 224**2
    assert areas.mean() == pytest.approx(0.318, abs=0.005)
    assert areas.median() == pytest.approx(0.304, abs=0.008)
    assert (areas > 0.5).double().mean() == pytest.approx(0.17, abs=0.01)
    assert plans.weights.amax(1).mean() == pytest.approx(largest, abs=0.015)
    assert plans.into[:, 0].double().mean() == pytest.approx(0.5, abs=0.01)


def test_cutmix_shares_are_counted_pixels():
    for size in (1, 2, 7, 32):
        plans = plans_of(60, operation=1, size=size, seed=size)
        owner = plans.owner()
        assert owner.shape == (60, size, size)
        counted = torch.stack([(owner == k).sum((1, 2)) for k in range(4)], 1) / size**2
        assert torch.allclose(plans.weights, counted.float())
        assert (owner.amax((1, 2)) < plans.number).all()


def test_owners_are_those_of_pasting_one_step_after_the_other():
    plans = plans_of(40, operation=1, size=16)
    for i, owner in enumerate(plans.owner().numpy()):
        mixture = np.zeros((16, 16))
        for k in range(1, int(plans.number[i])):
            y0, y1, x0, x1 = plans.pasted[i, k - 1].tolist()
            other = np.full((16, 16), k)
            if plans.into[i, k - 1]:
                mixture[y0:y1, x0:x1] = other[y0:y1, x0:x1]
            else:
                other[y0:y1, x0:x1] = mixture[y0:y1, x0:x1]
                mixture = other
        assert (owner == mixture).all()


def test_mixup_has_no_owner():
    with pytest.raises(ValueError, match="cutmix mode only"):
        plans_of(2).owner()


@pytest.mark.parametrize("operation", [0, 1])
def test_a_permuted_operand_is_left_alone_once_in_six_times(operation):
    plans = plans_of(number=2, operation=operation, inter_aug=True)
    alone = (plans.permutation == torch.arange(3)).all(2)
    # the one of the two views that is not the operand keeps its channels, so both do once in six times
    assert alone[:, :2].all(1).double().mean() == pytest.approx(1 / 6, abs=0.01)
    assert alone[:, :2].any(1).all()
    assert (plans_of(50, operation=operation).permutation == torch.arange(3)).all()


def test_mixup_permutes_the_lighter_one():
    plans = plans_of(number=2, inter_aug=True)
    permuted = ~(plans.permutation == torch.arange(3)).all(2)[:, :2]
    assert (plans.weights[:, :2][permuted] < 0.5).all()


def test_folding_is_mixing_step_by_step():
    rng = np.random.default_rng(0)
    shares, views = rng.random((50, 3)), rng.random((50, 4, 3, 5))
    steps, new = PERMUTATIONS[rng.integers(6, size=(50, 3))], rng.random((50, 3)) < 0.5
    weights, permutation = fold_shares(shares), fold_permutations(steps, new)
    for i in range(50):
        mixture = views[i, 0]
        for k in range(3):
            view = views[i, k + 1]
            if new[i, k]:
                view = view[steps[i, k]]
            else:
                mixture = mixture[steps[i, k]]
            mixture = shares[i, k] * mixture + (1 - shares[i, k]) * view
        folded = sum(weights[i, k] * views[i, k][permutation[i, k]] for k in range(4))
        assert np.allclose(folded, mixture)


def test_what_is_left_out_is_less_than_one_grey_level_together():
    weights = np.array([[0.5, 0.5, 0, 0], [0.003, 0.993, 0.004, 0], [0.9925, 0.002, 0.0025, 0.003], [0, 0, 0, 1.0]])
    shown = visible(weights)
    assert ((shown > 0) == [[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 1, 1], [0, 0, 0, 1]]).all()
    assert np.allclose(shown.sum(1), 1)


def test_views_that_do_not_show_have_a_valid_box():
    for operation in (0, 1):
        plans = plans_of(500, operation=operation)
        hidden = plans.weights == 0
        assert hidden.any() and (plans.boxes[hidden] == torch.tensor([0, 1, 0, 1])).all()
        assert (hidden | (torch.arange(4) < plans.number[:, None])).all()
        y0, y1, x0, x1 = plans.boxes.unbind(2)
        assert ((y0 >= 0) & (y0 < y1) & (y1 <= 375) & (x0 >= 0) & (x0 < x1) & (x1 <= 500)).all()


def test_bands_are_small_then_large_for_two_and_shuffled_for_more():
    area = {n: plans_of(number=n, mix_ratio=100.0) for n in (2, 3, 4)}  # so even that all show
    for n, plans in area.items():
        y0, y1, x0, x1 = plans.boxes[:, :n].unbind(2)
        larger = ((y1 - y0) * (x1 - x0)).double().argsort(1)
        if n == 2:
            assert (larger == torch.arange(2)).double().mean() > 0.99  # but for fallbacks
        else:
            firsts = torch.bincount(larger[:, 0], minlength=n)
            assert stats.chisquare(firsts).pvalue > 0.001


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(375, 500, (0.08, 1)), (333, 500, (0.67, 1)), (90, 30, (0.3, 1))]
)
def test_boxes_are_distributed_as_torchvisions(height, width, scale):
    count = 3000
    low, high = (np.full((count, 1), share) for share in scale)
    ours = drawn_boxes(np.full(count, height), np.full(count, width), low, high)[:, 0].T
    crop = v2.RandomResizedCrop(8, scale=scale)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        theirs = [crop.make_params([torch.empty(3, height, width)]) for _ in range(count)]
    names = ("top", "left", "height", "width")
    top, left, heights, widths = (np.array([params[name] for params in theirs]) for name in names)
    for mine, other in (
        (ours[0], top), (ours[2], left), (ours[1] - ours[0], heights), (ours[3] - ours[2], widths),
        ((ours[1] - ours[0]) * (ours[3] - ours[2]), heights * widths),
    ):  # fmt: skip
        assert stats.ks_2samp(mine, other).pvalue > 0.001


@pytest.mark.parametrize(
    ("height", "width", "low", "rate", "area"),
    [(375, 500, 0.505, 0.001, 0.67), (375, 500, 0.67, 0.02, 0.78), (375, 500, 0.7525, 0.07, 0.83),
     (333, 500, 0.67, 0.18, 0.74), (333, 500, 0.7525, 0.44, 0.80), (333, 500, 0.8, 0.65, 0.83),
     (32, 32, 0.75, 0.0, 0.84)],
)  # fmt: skip
def test_high_bands_fall_back_to_the_centre(height, width, low, rate, area):
    """The notes' rates and mean accepted areas, measured on another implementation of the rule."""
    count = 20_000
    sides = np.full(count, height), np.full(count, width)
    y0, y1, x0, x1 = drawn_boxes(*sides, np.full((count, 1), low), np.ones((count, 1)))[:, 0].T
    w = min(width, round(height * 4 / 3))
    fallback = (y1 - y0 == height) & (x1 - x0 == w) & (x0 == (width - w) // 2)
    assert fallback.mean() == pytest.approx(rate, abs=0.012)
    shares = (y1 - y0) * (x1 - x0) / (height * width)
    assert shares[~fallback].mean() == pytest.approx(area, abs=0.01)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 100), (100, 1), (2, 3), (3, 1000)])
def test_boxes_of_tiny_images(height, width):
    share = np.full((200, 1), 0.01)
    y0, y1, x0, x1 = drawn_boxes(np.full(200, height), np.full(200, width), share, share)[:, 0].T
    assert ((y0 >= 0) & (y0 < y1) & (y1 <= height) & (x0 >= 0) & (x0 < x1) & (x1 <= width)).all()


def test_a_batch_may_be_of_many_sizes():
    heights, widths = torch.arange(1, 300), torch.arange(1, 300).flip(0)
    plans = draw_plans(heights, widths, CropMixSettings(), seeded())
    assert (plans.boxes[..., 1] <= heights[:, None]).all() and (plans.boxes[..., 3] <= widths[:, None]).all()


@pytest.mark.parametrize("operation", [0, 1])
@pytest.mark.parametrize("number", [2, 3, 4, 234])
@pytest.mark.parametrize("preset", [None, "as_published"])
def test_one_image_is_a_batch_of_one(operation, number, preset):
    """The same arithmetic in arrays and in plain numbers: equal draws from equal states."""
    settings = CropMixSettings(0.1, number=number, operation=operation, inter_aug=True, size=50, preset=preset)
    for seed, height in enumerate([40, 333, 500, 1] * 20):
        single = draw_plan(height, 500, settings, seeded(seed))
        batch = Plan.of(draw_plans(torch.tensor([height]), torch.tensor([500]), settings, seeded(seed)), 0)
        assert (single.size, single.steps, len(single.views)) == (batch.size, batch.steps, len(batch.views))
        for mine, other in zip(single.views, batch.views, strict=True):
            assert (mine is None) == (other is None)
            if mine is not None and other is not None:
                assert (mine.box, mine.permutation) == (other.box, other.permutation)
                assert mine.weight == pytest.approx(other.weight, abs=1e-6)


def test_plans_are_a_function_of_the_generator_and_of_nothing_else():
    one, same, other = plans_of(20, seed=3), plans_of(20, seed=3), plans_of(20, seed=4)
    assert torch.equal(one.boxes, same.boxes) and torch.equal(one.weights, same.weights)
    assert not torch.equal(one.boxes, other.boxes)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        sides = torch.full((20,), 375), torch.full((20,), 500)
        assert torch.equal(draw_plans(*sides, CropMixSettings()).boxes, one.boxes)


def test_owner_at_takes_any_places():
    plan = SimpleNamespace(pasted=torch.tensor([[[1, 3, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]]]), into=torch.ones(1, 3) > 0)
    owner = owner_at(plan.pasted, plan.into, torch.tensor([[0, 2]]), torch.tensor([[0, 1, 2]]))
    assert owner.tolist() == [[[0, 0, 0], [1, 1, 0]]]
