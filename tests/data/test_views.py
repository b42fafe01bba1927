"""Several views of an image: the transform, where it may stand, and what TorchLoader makes of it."""

import sys

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import ArraySource, TorchLoader
from openmix.data.loaders.protocol import check_views, split_views
from openmix.data.order import Shards
from openmix.data.transforms import Views
from openmix.errors import UserError

IMAGES = torch.randint(256, (40, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
SOURCE = ArraySource(IMAGES, torch.arange(40) % 3, ("a", "b", "c"))
QUERY = [v2.RandomResizedCrop(12), v2.RandomHorizontalFlip()]
KEY = [v2.RandomResizedCrop((8, 10)), v2.RandomSolarize(128)]
PIPELINE = [v2.RandomCrop(16), Views([QUERY, KEY])]


def epoch_of(loader, epoch=0):
    """Return the views of every image of one epoch, by its index."""
    found = {}
    for _, batch in loader.epoch(epoch):
        for place, index in enumerate(batch.index.tolist()):
            found[index] = [view[place] for view in batch.views]
    return found


def test_each_view_is_made_of_the_same_image():
    views = Views([[], [v2.CenterCrop(8)], [v2.RandomSolarize(0, p=1), v2.CenterCrop(8)]])(IMAGES[0])
    centre = IMAGES[0, :, 4:12, 6:14]
    assert torch.equal(views[0], IMAGES[0]) and torch.equal(views[1], centre) and torch.equal(views[2], 255 - centre)


@pytest.mark.parametrize("views", [[], [v2.CenterCrop(8)], [[v2.CenterCrop(8)], ["CenterCrop"]], None])
def test_what_is_no_list_of_pipelines_is_refused(views):
    with pytest.raises(UserError, match="list of pipelines, each a list of transforms"):
        Views(views)


def test_a_batch_has_as_many_views_of_any_sizes():
    loader = TorchLoader(SOURCE, 10, pipeline=PIPELINE)
    batches = [batch for _, batch in loader.epoch(0)]
    assert len(batches) == 4
    for batch in batches:
        assert [tuple(view.shape) for view in batch.views] == [(10, 3, 12, 12), (10, 3, 8, 10)]
        assert all(view.dtype == torch.uint8 for view in batch.views)
    assert [len(batch.views) for batch in loader.evaluate()] == [2] * 4


def test_views_do_not_depend_on_workers_batches_or_processes():
    plain = epoch_of(TorchLoader(SOURCE, 20, pipeline=PIPELINE))
    workers = TorchLoader(SOURCE, 5, pipeline=PIPELINE, num_workers=2)
    others = [epoch_of(workers), epoch_of(TorchLoader(SOURCE, 5, pipeline=PIPELINE, shards=Shards(accumulate=2)))]
    workers.close()
    ranks = [epoch_of(TorchLoader(SOURCE, 10, pipeline=PIPELINE, shards=Shards(rank, 2))) for rank in range(2)]
    others.append(ranks[0] | ranks[1])
    for other in others:
        assert other.keys() == plain.keys() == set(range(40))
        assert all(torch.equal(a, b) for i in plain for a, b in zip(plain[i], other[i], strict=True))


def test_views_of_the_same_pipeline_have_draws_of_their_own():
    same = [v2.RandomResizedCrop(12)]
    found = epoch_of(TorchLoader(SOURCE, 10, pipeline=[Views([same, same])]))
    assert sum(torch.equal(*views) for views in found.values()) == 0


def test_what_views_share_is_drawn_once():
    found = epoch_of(TorchLoader(SOURCE, 10, pipeline=[v2.RandomResizedCrop(12), Views([[], []])]))
    assert all(torch.equal(*views) for views in found.values())


FLIP = v2.RandomHorizontalFlip()
MISPLACED = {
    "before another": [Views([[], []]), FLIP],
    "twice": [Views([[]]), Views([[]])],
    "inside a view": [Views([[Views([[]])]])],
    "inside Compose": [v2.Compose([FLIP, Views([[]])])],
    "inside RandomApply": [v2.RandomApply([Views([[]])]), FLIP],
    "inside RandomApply of modules": [v2.RandomApply(torch.nn.ModuleList([v2.Compose([Views([[]])])]))],
    "inside a view's RandomApply": [FLIP, Views([[], [v2.RandomApply([Views([[]])])]])],
}


@pytest.mark.parametrize("pipeline", MISPLACED.values(), ids=MISPLACED)
def test_a_misplaced_one_is_refused_at_construction(pipeline):
    with pytest.raises(UserError, match="Views must be the last transform of a pipeline"):
        TorchLoader(SOURCE, 10, pipeline=pipeline)
    with pytest.raises(UserError, match="Views must be the last"):
        check_views(pipeline)


def test_a_pipeline_is_split_into_what_is_shared_and_each_views_own():
    assert split_views([FLIP]) == ([FLIP], [()])
    assert split_views([FLIP, Views([[FLIP], []])]) == ([FLIP], ((FLIP,), ()))


def test_an_empty_pipeline_needs_no_transforms(monkeypatch):
    monkeypatch.setitem(sys.modules, "openmix.data.transforms", None)  # importing them would raise ImportError
    check_views([])
