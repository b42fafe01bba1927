"""Several views through DALI: of the same image, the same again from anywhere on, and refused where they cannot be."""

from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import ArraySource, DaliLoader, Shards, TorchLoader
from openmix.data.loaders import DaliReaderLoader
from openmix.data.transforms import CropMixPair, ScaleMix, Views
from openmix.errors import UserError

from .conftest import encoded, photograph, source_of
from .test_dali_pipeline import without_tables

pytest.importorskip("nvidia.dali", reason="DALI is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

CROP = v2.RandomResizedCrop(20, (0.2, 1.0))
AFTER = [
    v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
    v2.RandomGrayscale(0.2),
    v2.RandomApply([v2.GaussianBlur(5, (0.1, 2.0))], 0.5),
    v2.RandomSolarize(128, 0.2),
    v2.RandomHorizontalFlip(),
]
PAIR = [Views([[CropMixPair(24, AFTER)], [CROP, *AFTER]])]
FIXED = [v2.Resize([40, 44]), Views([[], [v2.CenterCrop(32)], [v2.RandomSolarize(100, 1.0), v2.Resize([20, 30])]])]


class TestDaliLoader:
    """What holds of one view holds of several."""

    def test_views_are_torchvisions(self, photographs):
        loaders = [kind(photographs, 8, pipeline=FIXED) for kind in (DaliLoader, TorchLoader)]
        for dali, ours in zip(*(loader.evaluate() for loader in loaders), strict=True):
            assert torch.equal(dali.labels, ours.labels) and torch.equal(dali.index, ours.index)
            assert [view.shape for view in dali.views] == [view.shape for view in ours.views]
            assert [tuple(view.shape[1:]) for view in dali.views] == [(3, 40, 44), (3, 32, 32), (3, 20, 30)]
            for one, other in zip(dali.views[:2], ours.views[:2], strict=True):
                difference = (one.int() - other.int()).abs()
                assert difference.max() <= 2 and difference.float().mean() < 0.5
            # a level at the threshold is one image solarised and the other not
            assert (dali.views[2].int() - ours.views[2].int()).abs().float().mean() < 1

    def test_each_view_draws_for_itself(self, photographs):
        ((_, batch), *_) = DaliLoader(photographs, 8, pipeline=[Views([[CROP], [CROP], [CROP]])]).epoch(0)
        pairs = [(0, 1), (0, 2), (1, 2)]
        assert not any((batch.views[a] == batch.views[b]).flatten(1).all(1).any() for a, b in pairs)

    def test_any_step_can_be_the_first(self, photographs, assert_same_batches):
        whole = list(DaliLoader(photographs, 4, pipeline=PAIR).epoch(2))
        assert [tuple(view.shape) for view in whole[0][1].views] == [(4, 3, 24, 24), (4, 3, 20, 20)]
        for start in range(len(whole)):
            rest = list(DaliLoader(photographs, 4, pipeline=PAIR).epoch(2, start_step=start))
            assert_same_batches(whole[start:], rest)

    def test_processes_threads_and_prefetching_make_no_difference(self, photographs, assert_same_batches):
        whole = list(DaliLoader(photographs, 4, pipeline=PAIR).epoch(1))
        for options in ({"num_workers": 2}, {"num_threads": 3}, {"prefetch": 1}, {"prefetch": 5}):
            loader = DaliLoader(photographs, 4, pipeline=PAIR, **options)
            assert_same_batches(whole, list(loader.epoch(1)))
            loader.close()

    def test_two_processes_see_what_one_that_accumulates_two_sees(self, photographs, assert_same_batches):
        one = list(DaliLoader(photographs, 4, pipeline=PAIR, shards=Shards(accumulate=2)).epoch(0))
        two = [list(DaliLoader(photographs, 4, pipeline=PAIR, shards=Shards(rank, 2)).epoch(0)) for rank in range(2)]
        assert_same_batches(one, [pair for pairs in zip(*two, strict=True) for pair in pairs])

    @pytest.mark.parametrize("prefetch", [1, 3])
    def test_a_damaged_image_is_replaced_in_all_views(self, tmp_path, prefetch):
        contents = {f"{i:02}.jpg": encoded(photograph(i)) for i in range(10)}
        contents["02.jpg"] = contents["02.jpg"][:-40]
        contents["05.jpg"] = b""
        contents["07.jpg"] = without_tables(contents["07.jpg"])  # DALI alone notices
        source = source_of(tmp_path, contents)
        pipeline = [Views([[v2.Resize([24, 24])], [v2.Resize([24, 24]), v2.RandomHorizontalFlip(1.0)]])]
        loaders = [
            DaliLoader(source, 2, pipeline=pipeline, prefetch=prefetch),
            TorchLoader(source, 2, pipeline=pipeline),
        ]
        names = []
        for dali, ours in zip(*(loader.evaluate() for loader in loaders), strict=True):
            names += [Path(error.name).name for error in dali.damaged]
            assert [e.name for e in dali.damaged] == [e.name for e in ours.damaged]
            assert torch.equal(dali.labels, ours.labels) and torch.equal(dali.views[1], dali.views[0].flip(-1))
            assert (dali.images.int() - ours.images.int()).abs().max() <= 1
        assert names == ["02.jpg", "05.jpg", "07.jpg"]

    def test_images_are_distributed_as_torch_loaders(self):
        """One picture 1500 times. No jitter but of brightness: DALI's other colours are not torchvision's."""
        picture = torch.randint(256, (1, 3, 8, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        picture = v2.functional.resize(picture, [32, 36])
        source = ArraySource(picture.expand(1500, -1, -1, -1), torch.zeros(1500, dtype=torch.int64), "a")
        after = [v2.RandomApply([v2.ColorJitter(0.4)], 0.8), *AFTER[1:]]
        pipeline = [Views([[CropMixPair(24, after)], [CROP, *after]])]
        found = [statistics_of(kind(source, 500, pipeline=pipeline)) for kind in (DaliLoader, TorchLoader)]
        for dali, ours in zip(*found, strict=True):
            error = ((dali.var(0) + ours.var(0)) / 1500).sqrt()
            assert ((dali.mean(0) - ours.mean(0)).abs() < 4 * error).all()
            # and their spread: of a standard deviation, this is the error for normal numbers
            spread = (dali.std(0) - ours.std(0)).abs() / ours.std(0)
            assert (spread < 0.1).all(), spread


def statistics_of(loader) -> list[torch.Tensor]:
    """Return of each view, for every image: mean, contrast, roughness, whether all of it or some of it is grey."""
    found: list[list[torch.Tensor]] = [[], []]
    for _, batch in loader.epoch(0):
        for view, rows in zip(batch.views, found, strict=True):
            pixels = view.float()
            rough = (pixels[..., 1:] - pixels[..., :-1]).abs().flatten(1).mean(1)
            grey = (view == view[:, :1]).all(1).flatten(1).float().mean(1)
            numbers = [pixels.flatten(1).mean(1), pixels.flatten(1).std(1), rough, grey, (grey == 1).float()]
            rows.append(torch.stack(numbers, 1))
    return [torch.cat(rows) for rows in found]


class TestReaders:
    """DALI draws the crops, we what follows."""

    def test_equal_keys_give_equal_epochs_from_any_step_on(self, photographs, assert_same_batches):
        options = {"pipeline": PAIR, "shards": Shards(accumulate=2)}
        whole = list(DaliReaderLoader(photographs, 4, **options).epoch(1))
        assert [tuple(view.shape) for view in whole[0][1].views] == [(4, 3, 24, 24), (4, 3, 20, 20)]
        for start in (0, 1):
            rest = list(DaliReaderLoader(photographs, 4, **options, num_threads=3).epoch(1, start_step=start))
            assert_same_batches(whole[2 * start :], rest)
        (_, other), *_ = DaliReaderLoader(photographs, 4, **options).epoch(2)
        assert not torch.equal(other.views[1], whole[0][1].views[1])

    def test_what_follows_the_crops_is_drawn_for_each_epoch_micro_batch_and_process(self, tmp_path):
        """Of a picture that is mirrored or not, by chance."""
        picture = encoded(photograph(0))
        source = source_of(tmp_path, {f"{i:03}.jpg": picture for i in range(80)})
        everything = v2.RandomResizedCrop(24, (1, 1), (90 / 70, 90 / 70))
        pipeline = [Views([[everything], [everything, v2.RandomHorizontalFlip()]])]
        drawn = []
        for rank in range(2):
            shards = Shards(rank, 2, accumulate=2)
            loader = DaliReaderLoader(source, 10, pipeline=pipeline, shards=shards)
            for _, batch in [*loader.epoch(0), *loader.epoch(1)]:
                drawn.append(tuple((batch.views[0] != batch.views[1]).flatten(1).any(1).tolist()))
        assert len(drawn) == 16 and len(set(drawn)) == 16

    def test_views_are_torchvisions_where_nothing_is_random(self, tmp_path):
        source = source_of(tmp_path, {f"{i}.jpg": encoded(photograph(i)) for i in range(4)})
        everything = v2.RandomResizedCrop(24, (1, 1), (90 / 70, 90 / 70))  # of these 90 x 70 pixels
        pipeline = [Views([[everything], [everything, v2.RandomGrayscale(1.0), v2.RandomHorizontalFlip(1.0)]])]
        ((_, batch),) = DaliReaderLoader(source, 4, pipeline=pipeline).epoch(0)
        (ours,) = TorchLoader(source, 4, pipeline=pipeline).evaluate()
        for one, other in zip(batch.views, ours.views, strict=True):
            assert (one.int() - other[batch.labels].int()).abs().max() <= 3

    def test_crops_are_of_one_image_and_of_the_transforms_area(self, tmp_path):
        """Of a ramp over both axes, a crop shows its own place and size."""
        ramp = torch.stack([torch.arange(96).expand(96, 96), torch.arange(96)[:, None].expand(96, 96)])
        image = torch.cat([2 * ramp, torch.zeros(1, 96, 96, dtype=torch.int64)]).byte()
        picture = encoded(v2.functional.to_pil_image(image), "PNG")
        source = source_of(tmp_path, {f"{i:03}.png": picture for i in range(200)})
        pipeline = [Views([[v2.RandomResizedCrop(96, (0.04, 0.3))], [v2.RandomResizedCrop(96, (0.5, 0.9))]])]
        ((_, batch),) = DaliReaderLoader(source, 200, pipeline=pipeline).epoch(0)
        places = []
        for view, (low, high) in zip(batch.views, ((0.04, 0.3), (0.5, 0.9)), strict=True):
            width, height = ((view[:, c].flatten(1).amax(1) - view[:, c].flatten(1).amin(1)) / 2 + 1 for c in (0, 1))
            area, shape = width * height / 96**2, width / height
            assert low - 0.03 < area.min() < low + 0.1 and high - 0.1 < area.max() < high + 0.03
            assert shape.min() > 0.7 and shape.max() < 1.43 and shape.log().std() > 0.1
            places.append(view[:, 0].flatten(1).float().mean(1))
        assert abs(torch.corrcoef(torch.stack(places))[0, 1]) < 0.25

    @pytest.mark.parametrize(
        ("pipeline", "message"),
        [
            ([v2.Resize([30, 30]), *PAIR], "DaliReaderLoader takes Views alone"),
            (
                [Views([[CROP], [v2.Resize([20, 20])]])],
                "views each begin with RandomResizedCrop, ScaleMix or CropMixPair",
            ),
            ([Views([[CROP], []])], "views each begin with"),
            ([Views([[CROP, v2.RandomPosterize(3)]])], "DaliLoader has no counterpart of RandomPosterize"),
            ([Views([[]])], "pipeline is RandomResizedCrop and perhaps"),
        ],
    )
    def test_other_views_are_refused(self, photographs, pipeline, message):
        with pytest.raises(UserError, match=message):
            DaliReaderLoader(photographs, 4, pipeline=pipeline)

    def test_views_of_several_sizes(self, photographs):
        pipeline = [Views([[CROP, v2.RandomApply([v2.CenterCrop(8)], 0.5)]])]
        with pytest.raises(UserError, match="a pipeline must end in images of one size"):
            list(DaliReaderLoader(photographs, 20, pipeline=pipeline).epoch(0))


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ([*PAIR, v2.CenterCrop(20)], "Views must be the last"),
        ([Views([[CROP], PAIR])], "Views must be the last"),
        ([v2.RandomApply(PAIR)], "Views must be the last"),
        ([Views([[CROP], [CROP, v2.RandomPosterize(3)]])], "DaliLoader has no counterpart of RandomPosterize"),
        (
            [Views([[CROP], [ScaleMix(20, [v2.RandomPosterize(3)])]])],
            "DaliLoader has no counterpart of RandomPosterize",
        ),
    ],
)
def test_what_cannot_be_is_named(photographs, pipeline, message):
    with pytest.raises(UserError, match=message):
        DaliLoader(photographs, 4, pipeline=pipeline)


def test_views_whose_images_differ_in_size(photographs):
    with pytest.raises(UserError, match="a pipeline must end in images of one size"):
        list(DaliLoader(photographs, 4, pipeline=[Views([[CROP], []])]).evaluate())
