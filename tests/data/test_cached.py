"""Cached images: an ArraySource in every respect, checked before it is mapped."""

import json
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from openmix.commands import run_command
from openmix.data import ArraySource, ResidentLoader, Synthetic, TorchLoader
from openmix.data.caching import ImageCacher, fit
from openmix.data.sources import CachedImages
from openmix.errors import UserError

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning", "ignore:This DataLoader will create:UserWarning"
)


def picture(seed: int, width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A cache of 13 images of 16 pixels in three classes."""
    root = tmp_path_factory.mktemp("made")
    for i in range(13):
        (root / "set" / "abc"[i % 3]).mkdir(parents=True, exist_ok=True)
        picture(i, 30 + 3 * i, 50 - i).save(root / "set" / "abc"[i % 3] / f"{i}.png")
    assert run_command("data", ["cache", str(root / "set"), str(root / "out"), "--size", "16", "--jobs", "1"]) == 0
    return root / "out"


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy to spoil."""
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


class TestFit:
    """Pillow and torchvision say what a small image is."""

    def test_square_is_pillows_resize(self):
        image = picture(0, 90, 57)
        expected = np.asarray(image.resize((16, 16), Image.Resampling.LANCZOS))
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert np.array_equal(fit(tensor, 16, "square", "lanczos").permute(1, 2, 0), expected)

    @pytest.mark.parametrize(("width", "height"), [(90, 60), (60, 90), (16, 40), (24, 8), (32, 32)])
    def test_shorter_is_resize_and_centre_crop(self, width, height):
        """To the bit where the crop begins at a whole pixel of both; else it is at most half of a small pixel off."""
        image = picture(1, width, height)
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        usual = v2.CenterCrop(16)(v2.Resize(16, 3)(image))
        assert np.array_equal(fit(tensor, 16).permute(1, 2, 0), np.asarray(usual))

    def test_an_image_of_that_size_is_kept(self):
        image = torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        assert fit(image, 16) is image

    def test_an_extreme_shape_takes_no_memory(self):
        assert fit(torch.full((3, 1, 60_000), 7, dtype=torch.uint8), 64).unique().tolist() == [7]

    @pytest.mark.parametrize("change", [{"size": 0}, {"mode": "longer"}, {"filter": "cubic"}])
    def test_wrong_settings(self, change):
        options = {"size": 8, **change}
        with pytest.raises(UserError, match="size must be at least 1, mode one of shorter, square"):
            ImageCacher(Synthetic(2, (3, 8, 8), 2), Path("x"), **options)


def add_one(source: CachedImages, results) -> None:
    source.images[0] += 1
    results.put(int(source.images[0, 0, 0, 0]))


class TestReading:
    """The mapped tensor."""

    def test_it_is_the_files_bytes(self, made):
        source = CachedImages(str(made))
        assert isinstance(source, ArraySource) and source.images.shape == (13, 3, 16, 16)
        assert source.images.numpy().tobytes() == (made / "images.bin").read_bytes()
        assert source.labels.tolist() == [0] * 5 + [1] * 4 + [2] * 4 and source.classes == ("a", "b", "c")
        path = made.parent / "set" / "b" / "4.png"
        with Image.open(path) as image:
            tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        number = sorted(p.name for p in path.parent.iterdir()).index("4.png")
        assert torch.equal(source[5 + number][0], fit(tensor, 16)) and source[5 + number][1] == 1

    def test_both_loaders_index_it(self, made, assert_same_batches):
        source = CachedImages(str(made))
        memory = ArraySource(source.images.clone(), source.labels, source.classes)
        pipeline = [v2.RandomCrop(16, padding=2), v2.RandomHorizontalFlip()]
        for kind, options in ((ResidentLoader, {}), (TorchLoader, {"num_workers": 2})):
            found = []
            for dataset in (source, memory):
                loader = kind(dataset, 4, pipeline=pipeline, **options)
                found.append([*loader.epoch(1), *((0, batch) for batch in loader.evaluate())])
                loader.close()
            assert_same_batches(*found)

    def test_the_resident_loader_on_the_cpu_copies_nothing(self, made):
        source = CachedImages(str(made))
        loader = ResidentLoader(source, 4)
        assert loader._choices is not None and loader._choices.data_ptr() == source.images.data_ptr()

    def test_what_is_written_stays_in_the_process(self, made):
        before = (made / "images.bin").read_bytes()
        source = CachedImages(str(made))
        value = int(source.images[0, 0, 0, 0])
        context = multiprocessing.get_context("fork")
        results = context.SimpleQueue()
        worker = context.Process(target=add_one, args=(source, results))
        worker.start()
        assert results.get() == (value + 1) % 256
        worker.join()
        assert int(source.images[0, 0, 0, 0]) == value and (made / "images.bin").read_bytes() == before

    def test_it_travels_by_name(self, made):
        source = CachedImages(str(made))
        content = pickle.dumps(source)
        assert len(content) < 500 and torch.equal(pickle.loads(content).images, source.images)

    def test_a_file_larger_than_memory_is_mapped(self, folder):
        """A sparse one: nothing is read, and the system reserves nothing."""
        side, length = 4096, 1 << 13  # 412 GB
        total = length * 3 * side * side
        try:
            with (folder / "images.bin").open("ab") as file:
                file.truncate(total)
        except OSError:
            pytest.skip("no sparse files of that size here")
        header = json.loads((folder / "header.json").read_text())
        header.update(length=length, image_shape=[3, side, side])
        (folder / "labels.bin").write_bytes(bytes(8 * length))
        header["files"]["images.bin"]["bytes"], header["files"]["labels.bin"]["bytes"] = total, 8 * length
        from openmix.data.sources.cached import sha256

        header["files"]["labels.bin"]["sha256"] = sha256(folder / "labels.bin")
        (folder / "header.json").write_text(json.dumps(header))
        source = CachedImages(str(folder))
        assert source.images.shape == (length, 3, side, side) and int(source.images[-1].max()) == 0


class TestChecking:
    """What is damaged is said, and never mapped."""

    @pytest.mark.parametrize("name", ["images.bin", "labels.bin"])
    def test_sizes(self, folder, name):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1])
        with pytest.raises(UserError, match=rf"{name} has [\d,]+ bytes, and header.json says [\d,]+: it is not whole"):
            CachedImages(str(folder))
        (folder / name).unlink()
        with pytest.raises(UserError, match=rf"{name} is missing; openmix data cache writes such folders"):
            CachedImages(str(folder))

    def test_labels(self, folder):
        content = (folder / "labels.bin").read_bytes()
        (folder / "labels.bin").write_bytes(b"\1" + content[1:])
        with pytest.raises(UserError, match=r"labels.bin is damaged: its SHA-256 is not that of header.json"):
            CachedImages(str(folder))

    @pytest.mark.parametrize(
        "change",
        [{"format": "2"}, {"length": 12}, {"length": -1}, {"image_shape": [3, 16]}, {"files": {}}, {"classes": [1]}],
    )
    def test_header(self, folder, change):
        header = json.loads((folder / "header.json").read_text())
        (folder / "header.json").write_text(json.dumps({**header, **change}))
        with pytest.raises(UserError, match=r"header.json is damaged, or no header of 'openmix images 1'"):
            CachedImages(str(folder))

    @pytest.mark.parametrize("text", ["", "[]", "{", "3"])
    def test_no_header(self, folder, text):
        (folder / "header.json").write_text(text)
        with pytest.raises(UserError, match=r"header.json is damaged"):
            CachedImages(str(folder))

    def test_missing(self, tmp_path):
        with pytest.raises(
            UserError, match=r"^CachedImages: there is no nowhere/header.json; openmix data cache writes"
        ):
            CachedImages("nowhere")
        (tmp_path / "images.bin.part").touch()
        with pytest.raises(UserError, match="it was begun and not ended: the same command goes on"):
            CachedImages(str(tmp_path))

    def test_another_set_than_the_config_says(self, made):
        with pytest.raises(UserError, match="has 3 classes, not 4"):
            CachedImages(str(made), num_classes=4)
        with pytest.raises(UserError, match=r"has images \(3, 16, 16\), not \(3, 32, 32\)"):
            CachedImages(str(made), image_shape=[3, 32, 32])

    def test_layout(self, made):
        assert CachedImages.layout({"path": str(made)}) == (3, (3, 16, 16))
        assert CachedImages.layout({"path": "x", "num_classes": 9, "image_shape": [3, 8, 8]}) == (9, (3, 8, 8))
        with pytest.raises(UserError, match="with num_classes and image_shape, a config can be checked without its"):
            CachedImages.layout({"path": "nowhere", "num_classes": 9})
