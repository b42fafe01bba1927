"""DaliLoader on a CPU: torchvision's pixels, every image once, the same again, and damage that does not end it."""

import gc
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from openmix.data import ArraySource, DaliLoader, Shards, TorchLoader
from openmix.data.dali.encoded import EncodedFetcher
from openmix.data.decoding import read_image
from openmix.data.sources.files import FileSource
from openmix.errors import UserError

from .conftest import encoded, photograph, source_of

pytest.importorskip("nvidia.dali", reason="DALI is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

TRAIN = [v2.RandomResizedCrop(24), v2.RandomHorizontalFlip()]
VALIDATE = [v2.Resize(36), v2.CenterCrop(32)]
PHOTOS = Path(__file__).resolve().parents[4] / "shared/data/photos"


def inputs_of(loader: DaliLoader, monkeypatch) -> list[list[torch.Tensor]]:
    """Return a list that will hold what is drawn for each batch."""
    drawn: list[list[torch.Tensor]] = []
    original = EncodedFetcher._draw

    def spy(self, sizes, generator):
        inputs = original(self, sizes, generator)
        drawn.append([torch.from_numpy(array) for array in inputs])
        return inputs

    monkeypatch.setattr(EncodedFetcher, "_draw", spy)
    return drawn


class TestPixels:
    """Against torchvision's own functions on what this project decodes."""

    def test_validation_is_torchvisions(self, photographs):
        batches = zip(
            *(L(photographs, 8, pipeline=VALIDATE).evaluate() for L in (DaliLoader, TorchLoader)), strict=True
        )
        for dali, ours in batches:
            assert torch.equal(dali.labels, ours.labels) and torch.equal(dali.index, ours.index)
            assert dali.images.dtype == torch.uint8
            assert (dali.images.int() - ours.images.int()).abs().max() <= 1

    def test_training_is_torchvisions_for_the_drawn_boxes(self, photographs, monkeypatch):
        loader = DaliLoader(photographs, 5, pipeline=TRAIN)
        drawn = inputs_of(loader, monkeypatch)
        batches = [batch for _, batch in loader.epoch(0)]
        for batch, (anchors, shapes, mirrored) in zip(batches, drawn, strict=False):
            for i, image in enumerate(batch.images):
                original = read_image(photographs.name(int(batch.index[i])))
                (y, x), (h, w) = anchors[i].tolist(), shapes[i].tolist()
                crop = v2.functional.resized_crop(original.contiguous(), y, x, h, w, [24, 24], antialias=True)
                expected = crop.flip(-1) if mirrored[i] else crop
                # DALI interpolates the chroma within the box, we beyond it: the edges differ a little
                difference = (image.int() - expected.int()).abs()
                assert difference.max() <= 6 and difference.float().mean() < 0.7

    def test_a_crop_that_is_not_the_first(self, photographs):
        """A box of what was resized before, rather than of the file."""
        pipeline = [v2.Resize([40, 40]), v2.RandomResizedCrop(24, (1, 1), (1, 1))]
        dali, ours = (next(L(photographs, 8, pipeline=pipeline).evaluate()) for L in (DaliLoader, TorchLoader))
        assert (dali.images.int() - ours.images.int()).abs().max() <= 2

    def test_padding(self, photographs, monkeypatch):
        pipeline = [v2.Resize([20, 20]), v2.RandomCrop(20, padding=5, fill=77)]
        whole = next(DaliLoader(photographs, 23, pipeline=pipeline[:1]).evaluate()).images
        loader = DaliLoader(photographs, 23, pipeline=pipeline)
        drawn = inputs_of(loader, monkeypatch)
        ((_, batch),) = loader.epoch(0)
        ((_, corners),) = drawn
        padded = v2.functional.pad(whole[batch.index], [5], fill=77)
        for image, source, (y, x) in zip(batch.images, padded, corners.tolist(), strict=True):
            assert torch.equal(image, source[:, y + 5 : y + 25, x + 5 : x + 25])
        assert (corners != 0).float().mean() > 0.5

    def test_factors_of_one_change_nothing(self, photographs):
        crop = v2.Resize([20, 20])
        plain = next(DaliLoader(photographs, 8, pipeline=[crop]).evaluate()).images
        same = next(DaliLoader(photographs, 8, pipeline=[crop, v2.ColorJitter(0, 0, 0, 0)]).evaluate()).images
        assert (plain.int() - same.int()).abs().max() <= 1
        bright = next(DaliLoader(photographs, 8, pipeline=[crop, v2.ColorJitter((2.0, 2.0))]).evaluate()).images
        assert (bright.int() - (plain.int() * 2).clamp(max=255)).abs().max() <= 1

    @pytest.mark.slow
    @pytest.mark.parametrize("policy", [v2.RandAugment(), v2.TrivialAugmentWide()])
    def test_policies_change_images_by_the_key(self, photographs, policy):
        loaders = [DaliLoader(photographs, 8, pipeline=[v2.Resize([32, 32]), *p]) for p in ([], [policy], [policy])]
        plain, one, two = (torch.cat([batch.images for _, batch in loader.epoch(0)]) for loader in loaders)
        assert torch.equal(one, two)
        changed = (plain != one).flatten(1).any(1).float().mean()
        assert changed > 0.6
        again = [batch.images for _, batch in loaders[1].epoch(0, start_step=1)]
        assert torch.equal(again[0], one[8:16])

    @pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs of shared/data are not here")
    def test_real_photographs(self):
        names = sorted(path.name for path in PHOTOS.iterdir())[:24]
        source = source_of_folder(names)
        pipeline = [v2.Resize(256), v2.CenterCrop(224)]
        for dali, ours in zip(
            DaliLoader(source, 8, pipeline=pipeline).evaluate(), TorchLoader(source, 8, pipeline=pipeline).evaluate(),
            strict=True,
        ):  # fmt: skip
            difference = (dali.images.int() - ours.images.int()).abs()
            assert difference.max() <= 2 and difference.float().mean() < 0.3


def source_of_folder(names):
    from openmix.data.sources.files import FileSource, PathList

    return FileSource(PathList(str(PHOTOS), names), torch.arange(len(names)), names)


class TestOrder:
    """Every image once, the same from anywhere on."""

    @pytest.mark.parametrize("world", [1, 2, 3])
    def test_every_image_once_an_epoch(self, photographs, world):
        loaders = [DaliLoader(photographs, 3, pipeline=TRAIN, shards=Shards(rank, world)) for rank in range(world)]
        for epoch in range(3):
            seen = [int(i) for loader in loaders for _, batch in loader.epoch(epoch) for i in batch.index]
            assert len(seen) == len(set(seen)) == 23 // (3 * world) * 3 * world
        seen = sorted(int(i) for loader in loaders for batch in loader.evaluate() for i in batch.index)
        assert seen == [*range(23)]

    def test_any_step_can_be_the_first(self, photographs, assert_same_batches):
        whole = list(DaliLoader(photographs, 4, pipeline=TRAIN).epoch(2))
        for start in range(len(whole)):
            assert_same_batches(
                whole[start:], list(DaliLoader(photographs, 4, pipeline=TRAIN).epoch(2, start_step=start))
            )

    def test_processes_threads_and_prefetching_make_no_difference(self, photographs, assert_same_batches):
        whole = list(DaliLoader(photographs, 4, pipeline=TRAIN).epoch(1))
        for options in ({"num_workers": 2}, {"num_threads": 3}, {"prefetch": 1}, {"prefetch": 5}):
            loader = DaliLoader(photographs, 4, pipeline=TRAIN, **options)
            assert_same_batches(whole, list(loader.epoch(1)))
            loader.close()

    def test_two_processes_see_what_one_that_accumulates_two_sees(self, photographs, assert_same_batches):
        one = list(DaliLoader(photographs, 4, pipeline=TRAIN, shards=Shards(accumulate=2)).epoch(0))
        two = [list(DaliLoader(photographs, 4, pipeline=TRAIN, shards=Shards(rank, 2)).epoch(0)) for rank in range(2)]
        assert_same_batches(one, [pair for pairs in zip(*two, strict=True) for pair in pairs])

    def test_an_epoch_that_is_left_early(self, photographs, assert_same_batches):
        loader = DaliLoader(photographs, 4, pipeline=TRAIN)
        whole = list(loader.epoch(0))
        next(loader.epoch(0))
        half = loader.epoch(1)
        next(half)
        assert_same_batches(whole, list(loader.epoch(0)))
        with pytest.raises(RuntimeError, match="this iteration is over"):
            list(half)

    def test_closed_loaders_say_so(self, photographs):
        loader = DaliLoader(photographs, 4, pipeline=TRAIN)
        loader.close()
        loader.close()
        with pytest.raises(RuntimeError, match="this loader is closed"):
            list(loader.evaluate())


class TestOddImages:
    """Whatever DALI would decode otherwise, or not at all."""

    def test_all_kinds_are_what_they_are_elsewhere(self, tmp_path):
        turned = Image.Exif()
        turned[0x0112] = 6
        rgba = photograph(5).convert("RGBA")
        rgba.putalpha(Image.linear_gradient("L").resize(rgba.size))
        source = source_of(
            tmp_path,
            {
                "grey.jpg": encoded(photograph(1, mode="L")),
                "cmyk.jpg": encoded(photograph(2, mode="CMYK")),
                "progressive.jpg": encoded(photograph(3), progressive=True),
                "turned.jpg": encoded(photograph(4), exif=turned),
                "alpha.png": encoded(rgba, "PNG"),
                "palette.png": encoded(photograph(6).quantize(64), "PNG"),
                "deep.png": encoded(Image.fromarray(np.arange(0, 56700, 9, dtype=np.uint16).reshape(70, 90)), "PNG"),
                "moving.gif": encoded(photograph(7, mode="P"), "GIF"),
                "a.webp": encoded(photograph(8), "WEBP"),
                "a.bmp": encoded(photograph(9), "BMP"),
                "a.tif": encoded(photograph(10), "TIFF"),
                "dot.jpg": encoded(photograph(11, 1, 1)),
                "line.jpg": encoded(photograph(12, 300, 1)),
                "444.jpg": encoded(photograph(13), subsampling=0),
                "422.jpg": encoded(photograph(14), subsampling=1),
            },
        )  # fmt: skip
        pipeline = [v2.Resize([24, 24])]
        (dali,), (ours,) = (list(L(source, 15, pipeline=pipeline).evaluate()) for L in (DaliLoader, TorchLoader))
        assert dali.damaged == ours.damaged == ()
        difference = (dali.images.int() - ours.images.int()).abs().flatten(1).amax(1)
        assert dict(zip(source.classes, difference.tolist(), strict=True)) == {
            name: pytest.approx(1.5, abs=1.5)
            for name in source.classes  # where resizing rounds
        }

    def test_sets_in_memory(self):
        images = torch.arange(4 * 3 * 8 * 8).remainder(256).view(4, 3, 8, 8).byte()
        source = ArraySource(images, torch.arange(4), "abcd")
        (batch,) = DaliLoader(source, 4, pipeline=[v2.Resize([8, 8])]).evaluate()
        assert torch.equal(batch.images, images)
        grey = ArraySource(images[:, :1], torch.arange(4), "abcd")
        with pytest.raises(UserError, match=r"takes colour images, uint8 \(3, H, W\), not torch.uint8 \(1, 8, 8\)"):
            list(DaliLoader(grey, 4).evaluate())


class TestDamage:
    """The images that TorchLoader replaces, by those that it takes."""

    @pytest.fixture
    def broken(self, tmp_path):
        """Twelve images; one is cut off, one empty, one text, one has no tables: DALI alone notices the last."""
        contents = {f"{i:02}.jpg": encoded(photograph(i)) for i in range(12)}
        contents["02.jpg"] = contents["02.jpg"][:-40]
        contents["05.jpg"] = b""
        contents["06.jpg"] = b"<html>"
        tables = contents["09.jpg"].index(b"\xff\xc4")
        contents["09.jpg"] = contents["09.jpg"][: tables + 5] + b"\xff" * 16 + contents["09.jpg"][tables + 21 :]
        return source_of(tmp_path, contents)

    @pytest.mark.parametrize("workers", [0, 1])
    @pytest.mark.parametrize("prefetch", [1, 2, 4])
    def test_the_same_images_are_replaced_by_the_same(self, broken, workers, prefetch):
        dali = DaliLoader(broken, 2, pipeline=VALIDATE, num_workers=workers, prefetch=prefetch)
        batches = list(zip(dali.evaluate(), TorchLoader(broken, 2, pipeline=VALIDATE).evaluate(), strict=True))
        dali.close()
        names = [Path(error.name).name for batch, _ in batches for error in batch.damaged]
        assert names == ["02.jpg", "05.jpg", "06.jpg", "09.jpg"]
        for one, other in batches:
            assert [e.name for e in one.damaged] == [e.name for e in other.damaged]
            assert torch.equal(one.labels, other.labels) and torch.equal(one.index, other.index)
            assert (one.images.int() - other.images.int()).abs().max() <= 1

    def test_resuming_over_damage(self, broken, assert_same_batches):
        whole = list(DaliLoader(broken, 2, pipeline=TRAIN).epoch(0))
        for start in range(6):
            assert_same_batches(whole[start:], list(DaliLoader(broken, 2, pipeline=TRAIN).epoch(0, start_step=start)))

    def test_the_epoch_after_is_whole(self, broken):
        loader = DaliLoader(broken, 2, pipeline=TRAIN)
        for epoch in range(3):
            assert sorted(int(i) for _, batch in loader.epoch(epoch) for i in batch.index) == [*range(12)]

    def test_too_many(self, broken):
        loader = DaliLoader(broken, 2, pipeline=VALIDATE, max_damaged=1)
        seen = []
        with pytest.raises(UserError, match=r"05\.jpg .*that makes 2 damaged images, more than max_damaged=1"):
            for batch in loader.evaluate():
                seen.append(batch)
        assert len(seen) == 2

    def test_nothing_but_damage(self, tmp_path):
        source = source_of(tmp_path, {"a.jpg": b"", "b.jpg": b""})
        with pytest.raises(UserError, match=r"2 images in a row cannot be read; the first: .*a\.jpg"):
            list(DaliLoader(source, 2, pipeline=VALIDATE).evaluate())


class TestWrongInput:
    """One message."""

    def test_images_of_several_sizes(self, photographs):
        for pipeline in ([], [v2.Resize(20)]):
            with pytest.raises(UserError, match="a pipeline must end in images of one size"):
                list(DaliLoader(photographs, 4, pipeline=pipeline).evaluate())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"num_threads": 0}, "num_threads and prefetch must be at least 1"),
            ({"prefetch": 0}, "num_threads and prefetch must be at least 1"),
            ({"num_workers": -1}, "num_workers must be at least 0"),
            ({"max_damaged": -1}, "max_damaged must be at least 0"),
        ],
    )
    def test_numbers(self, photographs, options, message):
        with pytest.raises(UserError, match=message):
            DaliLoader(photographs, 4, **options)

    def test_without_dali(self, photographs, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "nvidia.dali", None)
        with pytest.raises(UserError, match=r"DaliLoader needs NVIDIA DALI: install openmix\[dali-cuda130\]"):
            DaliLoader(photographs, 4)


def test_pictures_are_pictures():
    """The fixture's JPEGs are what Pillow reads, so that the comparisons above compare something."""
    with Image.open(io.BytesIO(encoded(photograph(0)))) as image:
        assert image.size == (90, 70)


def test_workers_leave_the_parents_garbage_alone(photographs, tmp_path):
    """A pipeline that is garbage when workers are forked must end in the parent: its threads are there."""

    class Collecting(FileSource):
        def encoded(self, index):
            gc.collect()
            return super().encoded(index)

    source = Collecting(photographs.paths, photographs.labels, photographs.classes)
    gc.disable()
    try:
        running = DaliLoader(photographs, 4, pipeline=TRAIN).epoch(0)
        next(running)
        ring = [running]
        ring.append(ring)
        del running, ring
        loader = DaliLoader(source, 4, pipeline=TRAIN, num_workers=1)
        assert len(list(loader.epoch(0))) == 5
        loader.close()
    finally:
        gc.enable()
