"""What the stages draw, and that DALI does with it what torchvision does."""

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from openmix.data import ArraySource, DaliLoader, Shards, TorchLoader
from openmix.data.dali.counterparts import counterparts
from openmix.data.loaders import DaliReaderLoader
from openmix.data.transforms import Cutout

from .conftest import encoded, photograph, source_of
from .test_dali_loader import TRAIN, inputs_of

WHOLE = v2.RandomResizedCrop(24, (1, 1), (90 / 70, 90 / 70))  # of the fixture's 90 x 70 pixels: all of it


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_draws_differ_from_epoch_to_epoch_and_from_shard_to_shard(photographs, monkeypatch):
    loader = DaliLoader(photographs, 5, pipeline=TRAIN, shards=Shards(accumulate=2))
    drawn = inputs_of(loader, monkeypatch)
    for epoch in (0, 1):
        list(loader.epoch(epoch))
    corners = [tuple(anchors.flatten().tolist()) for anchors, _, _ in drawn]
    flips = [tuple(row[2].tolist()) for row in drawn]
    assert len(corners) == 8 and len({*zip(corners, flips, strict=True)}) == 8
    # sizes differ from image to image: what must not be shared is what does not depend on them
    assert len(set(flips)) > 4


def test_evaluations_draws_are_the_same_for_any_number_of_processes(photographs):
    one = list(DaliLoader(photographs, 4, pipeline=TRAIN).evaluate())
    for rank in range(3):
        own = list(DaliLoader(photographs, 4, pipeline=TRAIN, shards=Shards(rank, 3)).evaluate())
        for batch, expected in zip(own, one[rank::3], strict=True):
            assert torch.equal(batch.images, expected.images)


def test_boxes_have_the_transforms_shape():
    (stage,) = counterparts([v2.RandomResizedCrop(8, (0.1, 0.4), (1, 1))])
    (_, shapes), _ = stage.draw(torch.tensor([[100, 160]]).expand(50, 2), torch.Generator().manual_seed(0))
    assert torch.equal(shapes[:, 0], shapes[:, 1])


def test_a_later_crop_is_cut_where_it_was_drawn(photographs, monkeypatch):
    pipeline = [v2.Resize([40, 40]), v2.RandomResizedCrop(24, (0.2, 0.5))]
    whole = torch.cat([b.images for b in DaliLoader(photographs, 8, pipeline=pipeline[:1]).evaluate()])
    loader = DaliLoader(photographs, 23, pipeline=pipeline)
    drawn = inputs_of(loader, monkeypatch)
    (batch,) = loader.evaluate()
    ((_, anchors, shapes),) = drawn
    for image, source, (y, x), (h, w) in zip(batch.images, whole, anchors.tolist(), shapes.tolist(), strict=True):
        expected = v2.functional.resized_crop(source.contiguous(), y, x, h, w, [24, 24], antialias=True)
        assert (image.int() - expected.int()).abs().max() <= 2


@pytest.mark.parametrize("first", [[WHOLE], [v2.Resize([30, 30]), v2.RandomResizedCrop(24, (1, 1), (1, 1))]])
def test_an_orientation_is_ignored_by_crops_too(tmp_path, first):
    source = source_of(tmp_path, {"turned.jpg": encoded(photograph(4), exif=turned()), "b.jpg": encoded(photograph(5))})
    dali, ours = (next(L(source, 2, pipeline=first).evaluate()) for L in (DaliLoader, TorchLoader))
    assert (dali.images.int() - ours.images.int()).abs().max() <= 3


@pytest.mark.parametrize("size", [[20, 20], [150, 150]])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("mode", ["BILINEAR", "BICUBIC"])
def test_filters_are_torchvisions(photographs, mode, antialias, size):
    pipeline = [v2.Resize(size, v2.InterpolationMode[mode], antialias=antialias)]
    dali, ours = (next(L(photographs, 8, pipeline=pipeline).evaluate()) for L in (DaliLoader, TorchLoader))
    difference = (dali.images.int() - ours.images.int()).abs()
    assert difference.max() <= 3 and difference.float().mean() < 0.5


def test_cutout(photographs, monkeypatch):
    pipeline = [v2.Resize([20, 20]), Cutout(8)]
    whole = torch.cat([b.images for b in DaliLoader(photographs, 23, pipeline=pipeline[:1]).evaluate()])
    loader = DaliLoader(photographs, 23, pipeline=pipeline)
    drawn = inputs_of(loader, monkeypatch)
    (batch,) = loader.evaluate()
    ((_, corners, shapes),) = drawn
    fill = pipeline[1].fill_for(whole[0]).flatten()
    for image, source, (y, x), (h, w) in zip(batch.images, whole, corners.tolist(), shapes.tolist(), strict=True):
        expected = source.clone()
        expected[:, y : y + h, x : x + w] = fill[:, None, None]
        assert torch.equal(image, expected)


def test_cutouts_are_squares_about_a_pixel_clipped_at_the_borders():
    (stage,) = counterparts([Cutout(8)])
    sizes = torch.tensor([[12, 20]]).expand(5000, 2)
    (corners, shapes), _ = stage.draw(sizes, torch.Generator().manual_seed(0))
    for axis, length in ((0, 12), (1, 20)):
        found = {*zip(corners[:, axis].tolist(), shapes[:, axis].tolist(), strict=True)}
        ends = [(max(c - 4, 0), min(c + 4, length)) for c in range(length)]
        assert found == {(begin, end - begin) for begin, end in ends}


def test_hues_turn_as_torchvisions_do():
    red = torch.zeros(3, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 200
    source = ArraySource(red, torch.arange(3), "abc")
    for hue in (1 / 3, -1 / 3):
        transform = v2.ColorJitter(hue=(hue, hue))
        (batch,) = DaliLoader(source, 3, pipeline=[transform]).evaluate()
        assert batch.images[0, :, 0, 0].argmax() == transform(red[0])[:, 0, 0].argmax() != 0


def test_contrast_comes_before_brightness():
    grey = ArraySource(torch.full((1, 3, 8, 8), 200, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), "a")
    (batch,) = DaliLoader(grey, 1, pipeline=[v2.ColorJitter((0.5, 0.5), (0.5, 0.5))]).evaluate()
    assert batch.images.unique().tolist() == [82]  # ((200 - 128) / 2 + 128) / 2


def test_what_policies_draw():
    sizes = torch.tensor([[20, 20]]).expand(4000, 2)
    (stage,) = counterparts([v2.RandAugment(num_ops=3, magnitude=7)])
    drawn, _ = stage.draw(sizes, torch.Generator().manual_seed(0))
    assert len(drawn) == len(stage.inputs) == 9
    for which, strength, negated in (drawn[k : k + 3] for k in (0, 3, 6)):
        assert which.unique().tolist() == [*range(len(stage.suite()))] and strength.unique().tolist() == [7]
        assert abs(negated.float().mean() - 0.5) < 0.03
    (stage,) = counterparts([v2.TrivialAugmentWide()])
    (which, strength, negated), _ = stage.draw(sizes, torch.Generator().manual_seed(0))
    assert which.unique().tolist() == [*range(len(stage.suite()))] and strength.unique().tolist() == [*range(31)]
    assert abs(negated.float().mean() - 0.5) < 0.03


def test_policies_fill_with_the_transforms_value():
    black = ArraySource(torch.zeros(64, 3, 32, 32, dtype=torch.uint8), torch.zeros(64, dtype=torch.int64), "a")
    (batch,) = DaliLoader(black, 64, pipeline=[v2.RandAugment(1, 20, fill=177)]).evaluate()
    assert (batch.images == 177).flatten(1).any(1).float().mean() > 0.2


def test_batches_are_not_written_over(photographs):
    kept, copies = [], []
    for batch in DaliLoader(photographs, 2, pipeline=[v2.Resize([32, 32])]).evaluate():
        kept.append(batch.images)
        copies.append(batch.images.clone())
    assert all(map(torch.equal, kept, copies))


def test_a_loader_that_is_closed_in_the_middle(photographs):
    loader = DaliLoader(photographs, 2, pipeline=TRAIN)
    running = loader.evaluate()
    next(running)
    loader.close()
    with pytest.raises(RuntimeError, match="this loader is closed"):
        next(running)


def test_readers_crop_and_flip_as_the_transforms_say(tmp_path):
    """Of the whole image and always mirrored, so that nothing is random."""
    source = source_of(tmp_path, {f"{i}.jpg": encoded(photograph(i), exif=turned()) for i in range(4)})
    pipeline = [WHOLE, v2.RandomHorizontalFlip(1.0)]
    ((_, batch),) = DaliReaderLoader(source, 4, pipeline=pipeline).epoch(0)
    (ours,) = TorchLoader(source, 4, pipeline=pipeline).evaluate()
    assert (batch.images.int() - ours.images[batch.labels].int()).abs().max() <= 3
