"""Batched transforms that hold others, and several views in the resident loader."""

import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from openmix.data import ArraySource, ResidentLoader
from openmix.data.loaders.batched import Chain, batched
from openmix.data.loaders.batched_views import Pasted, Perhaps, Still
from openmix.data.order import Shards
from openmix.data.transforms import CropMixPair, ScaleMix, Views
from openmix.errors import UserError

COUNT = 40
IMAGES = torch.randint(256, (COUNT, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SHAPE = (3, 16, 20)
COLOURS = [
    v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
    v2.RandomGrayscale(0.2),
    v2.RandomApply([v2.GaussianBlur(3, (0.1, 2.0))], p=0.5),
    v2.RandomHorizontalFlip(),
]
KEY = [v2.RandomResizedCrop(12, scale=(0.2, 1.0)), *COLOURS, v2.RandomSolarize(128, p=0.2)]
QUERY = [CropMixPair(8, COLOURS)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_perhaps_applies_what_it_holds_by_a_coin():
    stage = Perhaps(v2.RandomApply([v2.RandomSolarize(0, p=1), v2.RandomHorizontalFlip(p=1)], p=0.3), SHAPE)
    draws = stage.draw(COUNT, seeded())
    out = stage.apply(IMAGES, draws)
    assert {0, 1} == set(draws[0].tolist()) and draws.shape == (stage.draws, COUNT) == (3, COUNT)
    for image, result, chosen in zip(IMAGES, out, draws[0], strict=True):
        assert torch.equal(result, (255 - image).flip(-1) if chosen else image)
    coins = stage.draw(10_000, seeded())[0].sum()
    assert stats.binomtest(int(coins), 10_000, 0.3).pvalue > 0.001


def test_perhaps_in_perhaps_and_by_modules():
    modules = torch.nn.ModuleList([v2.RandomApply([v2.RandomSolarize(0, p=1)], p=0.5)])
    stage = Perhaps(v2.RandomApply(modules, p=0.5), SHAPE)
    draws = stage.draw(COUNT, seeded())
    changed = (stage.apply(IMAGES, draws) != IMAGES).flatten(1).any(1)
    assert torch.equal(changed, (draws[0] & draws[1]).bool()) and 0 < changed.sum() < COUNT


@pytest.mark.parametrize("transform", [ScaleMix(10, COLOURS), CropMixPair(10, COLOURS), CropMixPair(14, [])])
def test_pasted_is_the_second_crop_within_the_box_and_the_first_elsewhere(transform):
    stage = Pasted(transform, SHAPE)
    draws = stage.draw(COUNT, seeded())
    out = stage.apply(IMAGES, draws)
    assert out.shape == (COUNT, *stage.shape) == (COUNT, 3, transform.size, transform.size)
    half = (len(draws) - 4) // 2
    views = [view.apply(IMAGES, draws[k * half : (k + 1) * half]) for k, view in enumerate(stage.views)]
    owned = [0, 0]
    for i, (y0, y1, x0, x1) in enumerate(draws[-4:].T.tolist()):
        for y in range(transform.size):
            for x in range(transform.size):
                inside = y0 <= y < y1 and x0 <= x < x1
                owned[inside] += 1
                assert torch.equal(out[i, :, y, x], views[inside][i, :, y, x])
    assert min(owned) > 0.1 * sum(owned)


def test_the_two_crops_have_their_own_bands():
    for transform, bands in ((CropMixPair(8, []), [(0.2, 0.6), (0.6, 1)]), (ScaleMix(8, []), [(0.2, 1), (0.2, 1)])):
        draws = Pasted(transform, (3, 64, 64)).draw(2000, seeded())
        for (low, high), (y0, y1, x0, x1) in zip(bands, draws[:8].split(4), strict=True):
            area = (y1 - y0) * (x1 - x0) / 64**2
            assert low - 0.02 < area.min() < low + 0.05 and high - 0.05 < area.max() < high + 0.02


@pytest.mark.parametrize(("mean", "transform"), [(0.318, ScaleMix(224, [])), (0.318, CropMixPair(224, []))])
def test_pasted_boxes_are_those_of_the_single_transform(mean, transform):
    y0, y1, x0, x1 = Pasted(transform, SHAPE).draw(50_000, seeded())[-4:]
    assert abs(((y1 - y0) * (x1 - x0) / 224**2).mean() - mean) < 0.006


@pytest.mark.parametrize(
    "transform", [v2.Resize((8, 9)), v2.Resize(8), v2.Resize(40), v2.CenterCrop(10), v2.CenterCrop((18, 6))]
)
def test_what_draws_nothing_is_torchvisions_own(transform):
    stage = Still(transform, SHAPE)
    draws = stage.draw(COUNT, seeded())
    out = stage.apply(IMAGES, draws)
    assert draws.shape == (0, COUNT) and out.shape == (COUNT, *stage.shape) and out.dtype == torch.uint8
    for image, result in zip(IMAGES, out, strict=True):
        assert torch.equal(result, transform(image))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (v2.RandomApply([v2.RandomCrop(8)]), r"RandomApply: .* makes images \(3, 16, 20\) into \(3, 8, 8\)"),
        (v2.RandomApply([v2.RandomRotation(5)]), "cannot augment with RandomRotation"),
        (ScaleMix(8, [v2.RandomCrop(4)]), r"ScaleMix: its pipeline must keep a crop's shape, \(3, 8, 8\), not make it"),
        (CropMixPair(8, [v2.RandomPosterize(4)]), "cannot augment with RandomPosterize"),
    ],
)
def test_what_it_cannot_do_is_refused(transform, message):
    with pytest.raises(UserError, match=message):
        batched([transform], SHAPE)


def loader(pipeline, batch_size=10, shards=Shards(), seed=1, images=IMAGES):  # noqa: B008
    source = ArraySource(images, torch.arange(len(images)) % 3, ("a", "b", "c"))
    return ResidentLoader(source, batch_size, pipeline=pipeline, seed=seed, shards=shards)


def three_views(shared):
    return [*shared, Views([QUERY, KEY, []])]


def views_of(built, epoch=0, start_step=0):
    return [batch.views for _, batch in built.epoch(epoch, start_step=start_step)]


def equal(some, others):
    return len(some) == len(others) and all(
        torch.equal(a, b) for one, other in zip(some, others, strict=True) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("shared", [[], [v2.RandomCrop(14, 2), v2.RandomHorizontalFlip()], [v2.RandomResizedCrop(14)]])
def test_a_batch_has_as_many_views_keyed_by_epoch_and_step(shared):
    built = loader(three_views(shared))
    first = views_of(built)
    assert len(first) == 4
    for views in first:
        sizes = [(8, 8), (12, 12), (14, 14) if shared else (16, 20)]
        assert [tuple(view.shape) for view in views] == [(10, 3, *size) for size in sizes]
        assert all(view.dtype == torch.uint8 for view in views)
    assert equal(first, views_of(built)) and equal(first[2:], views_of(built, start_step=2))
    assert not equal(first, views_of(built, epoch=1)) and not equal(
        first, views_of(loader(three_views(shared), seed=2))
    )
    evaluated = [batch.views for batch in built.evaluate()]
    assert len(evaluated) == 4 and equal(evaluated, [batch.views for batch in built.evaluate()])


def test_two_processes_make_what_one_that_accumulates_two_makes():
    pipeline = three_views([])
    one = list(loader(pipeline, 5, Shards(accumulate=2)).epoch(0))
    ranks = [list(loader(pipeline, 5, Shards(rank, 2)).epoch(0)) for rank in range(2)]
    assert [shard for shard, _ in one] == [0, 1] * 4
    for k, (shard, batch) in enumerate(one):
        other_shard, other = ranks[k % 2][k // 2]
        assert shard == other_shard and equal([batch.views], [other.views])


def test_steps_and_shards_have_draws_of_their_own():
    same = IMAGES[:1].expand(COUNT, -1, -1, -1).clone()
    seen = [views[0] for views in views_of(loader(three_views([]), 5, Shards(accumulate=2), images=same))]
    assert len(torch.cat(seen).unique(dim=0)) == COUNT


def test_views_of_the_same_pipeline_have_draws_of_their_own():
    for first, second in views_of(loader([Views([KEY, KEY])])):
        assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_views_share_is_drawn_once_and_not_changed_by_a_view():
    for views in views_of(loader([v2.RandomCrop(12, 2), Views([[], KEY, []])])):
        assert torch.equal(views[0], views[2])
    stored = IMAGES.clone()
    built = loader([Views([[], *[[transform] for transform in KEY]])], images=stored)
    views_of(built)
    assert torch.equal(stored, IMAGES)


def test_grey_images_have_views_too():
    for views in views_of(loader(three_views([]), images=IMAGES[:, :1].clone())):
        assert [tuple(view.shape) for view in views] == [(10, 1, 8, 8), (10, 1, 12, 12), (10, 1, 16, 20)]


def test_a_misplaced_one_is_refused():
    with pytest.raises(UserError, match="Views must be the last transform of a pipeline"):
        loader([Views([[]]), v2.RandomHorizontalFlip()])


class Count(TorchDispatchMode):
    """Count the tensor operations that run, and those that would wait for a device."""

    operations = waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        self.waits += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return func(*args, **(kwargs or {}))


def test_no_transform_goes_image_by_image_or_waits():
    counts = []
    chain = Chain(batched([ScaleMix(16, COLOURS), v2.CenterCrop(14), *KEY], SHAPE), SHAPE)
    for size in (20, 40):
        draws = chain.draw(size, seeded())
        with Count() as count:
            chain.apply(IMAGES[:size], draws)
        counts.append(count.operations)
        assert count.waits == 0
    assert counts[0] == counts[1]
