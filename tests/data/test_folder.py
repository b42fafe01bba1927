"""Image files in folders: torchvision's ImageFolder and Pillow say what should come out."""

import gc
import io
import multiprocessing
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from openmix.data import SOURCES, ImageFolder, ImageNet, Source, Synthetic, TinyImageNet, TorchLoader, decoding
from openmix.data.decoding import read_image
from openmix.data.sources.files import PathList
from openmix.data.sources.folder import walk_images
from openmix.errors import UserError

PHOTOS = Path(__file__).resolve().parents[3] / "shared/data/photos"

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def picture(seed: int = 0, width: int = 23, height: int = 17, mode: str = "RGB") -> Image.Image:
    """Return a smooth picture with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((width, height))
    return Image.fromarray(np.asarray(coarse) ^ rng.integers(0, 4, (height, width, 3), dtype=np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> torch.Tensor:
    with Image.open(io.BytesIO(data)) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def write(root: Path, *names: str) -> Path:
    """Write a small picture, of another colour each, to every name, and 'no image' to those with no image's ending."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}.get(path.suffix.lower(), "JPEG")
        path.write_bytes(encoded(picture(seed), kind))
    return root


def listing(source: ImageFolder) -> list[tuple[str, int]]:
    return [(source.paths[i], int(source.labels[i])) for i in range(len(source))]


class TestListing:
    """Which images, in which order, with which labels."""

    NAMES = (
        "zebra/b.JPEG", "zebra/a.jpg", "zebra/images/c.jpeg", "zebra/images-2/e.PNG", "zebra/images/x/d.webp",
        "cat/1.bmp", "cat/10.jpg", "cat/2.jpg", "n01/Ä b.jpg", "n01/x.txt", "n01/jpg", "Dog/q.Tiff", "Dog/q.gif",
        "loose.jpg",
    )  # fmt: skip

    def test_it_is_torchvisions(self, tmp_path):
        source = ImageFolder(str(write(tmp_path, *self.NAMES)))
        oracle = torchvision.datasets.ImageFolder(str(tmp_path))
        assert listing(source) == oracle.samples
        assert list(source.classes) == oracle.classes == ["Dog", "cat", "n01", "zebra"]
        assert (len(source), source.num_classes) == (10, 4)
        assert isinstance(source, Source)

    def test_a_split_is_a_folder(self, tmp_path):
        write(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "val/a/2.jpg", "val/b/3.jpg")
        source = ImageFolder(str(tmp_path), "val", num_classes=2)
        assert listing(source) == torchvision.datasets.ImageFolder(str(tmp_path / "val")).samples

    def test_hidden_files_and_folders_are_no_images_and_no_classes(self, tmp_path):
        write(tmp_path, "a/1.jpg", "a/._1.jpg", ".ipynb_checkpoints/1.jpg", "b/.trash/2.jpg", "b/3.jpg")
        source = ImageFolder(str(tmp_path))
        assert source.classes == ("a", "b")
        assert [os.path.relpath(path, tmp_path) for path, _ in listing(source)] == ["a/1.jpg", "b/3.jpg"]

    def test_links_are_followed(self, tmp_path):
        write(tmp_path / "store", "x/1.jpg", "y/2.jpg")
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "first").symlink_to(tmp_path / "store" / "x")
        (tmp_path / "set" / "second").mkdir()
        (tmp_path / "set" / "second" / "2.jpg").symlink_to(tmp_path / "store" / "y" / "2.jpg")
        assert listing(ImageFolder(str(tmp_path / "set"))) == torchvision.datasets.ImageFolder(tmp_path / "set").samples

    def test_links_that_lead_nowhere_or_up_are_no_classes_and_hold_no_images(self, tmp_path):
        write(tmp_path / "train", "a/1.jpg", "a/deep/2.jpg", "b/3.jpg")
        oracle = torchvision.datasets.ImageFolder(tmp_path / "train").samples
        up = {
            "self": "self",
            "all": ".",
            "up": "..",
            "a/self": "self",
            "a/same": ".",
            "a/deep/up": "..",
            "b/x": "../..",
        }
        for link, target in up.items():
            (tmp_path / "train" / link).symlink_to(target)
        source = ImageFolder(str(tmp_path / "train"))
        assert source.classes == ("a", "b") and listing(source) == oracle

    def test_two_folders_that_link_to_each_other(self, tmp_path):
        write(tmp_path, "a/1.jpg", "b/2.jpg")
        (tmp_path / "a" / "to_b").symlink_to("../b")
        (tmp_path / "b" / "to_a").symlink_to("../a")
        found = [os.path.relpath(path, tmp_path) for path, _ in listing(ImageFolder(str(tmp_path)))]
        assert found == ["a/1.jpg", "a/to_b/2.jpg", "b/2.jpg", "b/to_a/1.jpg"]

    def test_a_folder_whose_name_begins_as_anothers_is_not_above_it(self, tmp_path):
        write(tmp_path, "store/1.jpg", "store-2/x/2.jpg")
        (tmp_path / "store-2" / "x" / "more").symlink_to(tmp_path / "store")
        assert dict(walk_images(tmp_path / "store-2"))["x/more"] == ["1.jpg"]

    def test_only_regular_files_are_images(self, tmp_path):
        write(tmp_path, "a/1.jpg")
        os.mkfifo(tmp_path / "a" / "2.jpg")
        (tmp_path / "a" / "3.jpg").symlink_to("2.jpg")
        (tmp_path / "a" / "4.jpg").symlink_to("/dev/zero")
        assert walk_images(tmp_path / "a") == [("", ["1.jpg"])]

    @pytest.mark.parametrize("target", ["gone.jpg", "2.jpg"])
    def test_a_link_to_nothing_is_kept_and_reported_when_read(self, tmp_path, target):
        """A file that was not fetched must not go missing without a word."""
        (write(tmp_path, "a/1.jpg") / "a" / "2.jpg").symlink_to(target)
        source = ImageFolder(str(tmp_path))
        assert listing(source) == torchvision.datasets.ImageFolder(tmp_path).samples and len(source) == 2
        with pytest.raises(UserError, match=r"a/2.jpg cannot be read"):
            source[1]

    @pytest.mark.parametrize("locked", ["", "a", "a/deep"])
    def test_a_folder_that_cannot_be_read_is_named(self, tmp_path, monkeypatch, locked):
        scan, place = os.scandir, os.path.normpath(tmp_path / locked)

        def refusing(folder):
            if os.path.normpath(folder) == place:
                raise PermissionError(13, "Permission denied", str(folder))
            return scan(folder)

        write(tmp_path, "a/1.jpg", "a/deep/2.jpg")
        monkeypatch.setattr(os, "scandir", refusing)  # the superuser could read it whatever its mode
        with pytest.raises(UserError, match=f"the folder {place}/? cannot be read: Permission denied"):
            ImageFolder(str(tmp_path))

    def test_an_empty_class_keeps_its_label_and_is_warned_of(self, tmp_path):
        write(tmp_path, "a/1.jpg", "c/1.jpg", "b/notes.txt")
        with pytest.warns(UserWarning, match="no image of 1 of 3 classes: b$"):
            source = ImageFolder(str(tmp_path), num_classes=3)
        assert source.classes == ("a", "b", "c") and source.labels.tolist() == [0, 2]

    @pytest.mark.parametrize(
        ("names", "options", "message"),
        [
            (
                ["train/a/1.jpg", "test/a/1.jpg"],
                {"split": "tran"},
                r"no folder \S+tran; did you mean 'train'\?; images",
            ),
            (["train/a/1.jpg", "val/a/1.jpg"], {}, r"holds train, val: choose one by split="),
            (["train/1.jpg"], {"split": "train"}, r"train holds no folder; images are read from one folder a class"),
            (["a/1.jpg", "b/1.jpg"], {"num_classes": 3}, r"holds 2 folders .* each of 3 classes: a, b$"),
            (["a/1.txt", "b/2.gif"], {}, r"holds no image: no name in its class folders ends in \.jpg, \.jpeg"),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path, names, options, message):
        with pytest.raises(UserError, match=message):
            ImageFolder(str(write(tmp_path, *names)), **options)

    def test_no_folder(self, tmp_path):
        with pytest.raises(
            UserError, match=f"^ImageFolder: there is no folder {tmp_path}/nowhere; images are read from"
        ):
            ImageFolder(str(tmp_path / "nowhere"), "train")


class TestSource:
    """What a source is, once listed."""

    @pytest.fixture
    def source(self, tmp_path) -> ImageFolder:
        return ImageFolder(str(write(tmp_path, *(f"{c}/{i}.png" for c in "abc" for i in range(5)))))

    def test_items(self, source):
        for index in (0, 7, 14, -1):
            image, label = source[index]
            assert torch.equal(image, by_pillow(Path(source.paths[index]).read_bytes()))
            assert label == index % 15 // 5 and type(label) is int
        with pytest.raises(IndexError):
            source[15]

    def test_take_is_the_first_images_and_keeps_the_classes(self, source):
        taken = source.take(6)
        assert listing(taken) == listing(source)[:6] and taken.classes == source.classes and taken.num_classes == 3
        assert len(source.take(100)) == 15
        assert torch.equal(taken[5][0], source[5][0])

    def test_it_travels_to_a_spawned_process(self, source):
        copy = pickle.loads(pickle.dumps(source))
        assert listing(copy) == listing(source) and torch.equal(copy[3][0], source[3][0])


def private_memory_growth(paths, results) -> None:
    """Read every path, and tell how many bytes of memory this process had to copy for that."""

    def private() -> int:
        found = re.findall(r"^Private_\w+: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(), re.M)
        return 1024 * sum(map(int, found))

    gc.disable()  # a collection writes to whatever the tests before have left in memory
    for i in range(0, len(paths), 97):
        paths[i]
    before = private()
    for i in range(len(paths)):
        paths[i]
    results.put(private() - before)


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="needs Linux's account of shared memory")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_forked_workers_share_the_paths():
    """A list of strings, for comparison, is copied by whoever reads it."""
    names = [f"n{i // 1000:08d}/n{i // 1000:08d}_{i:08d}.JPEG" for i in range(100_000)]
    fork, growth = multiprocessing.get_context("fork"), {}
    for kind, paths in {"list": [str(name) for name in names], "PathList": PathList("data", names)}.items():
        results = fork.SimpleQueue()
        worker = fork.Process(target=private_memory_growth, args=(paths, results))
        worker.start()
        growth[kind] = results.get()
        worker.join()
    assert growth["list"] > 4_000_000 > 1_000_000 > growth["PathList"]


EXIF = Image.Exif()
EXIF[0x0112] = 6  # the camera was held upright
RGBA = picture(mode="RGB")
RGBA.putalpha(100)
FORMATS = {
    "jpeg": encoded(picture()),
    "jpeg, grey": encoded(picture(mode="L")),
    "jpeg, CMYK": encoded(picture(mode="CMYK")),
    "jpeg, progressive": encoded(picture(), progressive=True),
    "jpeg, turned": encoded(picture(), exif=EXIF),
    "png": encoded(picture(), "PNG"),
    "png, palette": encoded(picture().quantize(16), "PNG"),
    "png, transparent": encoded(RGBA, "PNG"),
    "png, grey and transparent": encoded(RGBA.convert("LA"), "PNG"),
    "png, black and white": encoded(picture(mode="1"), "PNG"),
    "webp": encoded(picture(), "WEBP"),
    "webp, transparent": encoded(RGBA, "WEBP"),
    "webp, animated": encoded(picture(), "WEBP", save_all=True, append_images=[picture(1)]),
    "gif, animated": encoded(picture(), "GIF", save_all=True, append_images=[picture(1)]),
    "bmp": encoded(picture(), "BMP"),
    "tiff": encoded(picture(), "TIFF"),
    "ppm": encoded(picture(), "PPM"),
}


DAMAGED = {
    "cut": encoded(picture())[:-40],
    "empty": b"",
    "text": b"<html>404</html>" * 9,
    "png, cut": encoded(picture(), "PNG")[:-40],
}


@pytest.fixture(params=["torchvision", "Pillow"])
def decoder(request, monkeypatch) -> str:
    """Decode with torchvision, or as where torchvision has no decoders any more."""
    if request.param == "Pillow":
        monkeypatch.setattr(decoding, "load_decoder", lambda: None)
    return request.param


class TestDecoding:
    """Pillow's ``convert("RGB")``, whoever decodes."""

    @pytest.mark.usefixtures("decoder")
    @pytest.mark.parametrize("name", FORMATS)
    def test_formats(self, tmp_path, name):
        path = tmp_path / "image.JPEG"  # what it is called does not matter
        path.write_bytes(FORMATS[name])
        image = read_image(str(path))
        assert image.dtype == torch.uint8 and image.shape == (3, 17, 23)
        assert (image.int() - by_pillow(FORMATS[name]).int()).abs().max() <= 2

    def test_16_bits_become_8(self, tmp_path):
        levels = np.random.default_rng(0).integers(0, 2**16, (9, 7), dtype=np.uint16)
        Image.fromarray(levels).save(tmp_path / "deep.png")
        assert torch.equal(
            read_image(str(tmp_path / "deep.png")), torch.from_numpy(levels // 256).byte().expand(3, 9, 7)
        )

    @pytest.mark.usefixtures("decoder")
    def test_photographs(self):
        photos = sorted(PHOTOS.glob("*.JPEG"))[:12]
        if not photos:
            pytest.skip("there are no photographs at ../shared/data/photos")
        for path in photos:
            assert (read_image(str(path)).int() - by_pillow(path.read_bytes()).int()).abs().max() <= 2

    @pytest.mark.usefixtures("decoder")
    @pytest.mark.parametrize("name", DAMAGED)
    def test_a_damaged_file_is_named(self, tmp_path, name):
        path = tmp_path / "x.jpg"
        path.write_bytes(DAMAGED[name])
        expected = f"^{path} \\({len(DAMAGED[name])} bytes\\) is damaged, or no image: [^\n]+$"
        with pytest.raises(UserError, match=expected):
            read_image(str(path))

    def test_a_file_that_is_gone_is_named(self, tmp_path):
        with pytest.raises(UserError, match=f"^{tmp_path}/x.jpg cannot be read: No such file"):
            read_image(str(tmp_path / "x.jpg"))


class TestLoading:
    """TorchLoader over folders."""

    PIPELINE = (v2.RandomResizedCrop(12, scale=(0.3, 1.0), antialias=True), v2.RandomHorizontalFlip())

    @pytest.fixture
    def source(self, tmp_path) -> ImageFolder:
        for i in range(24):
            path = tmp_path / "ab"[i % 2] / f"{i}.jpg"
            path.parent.mkdir(exist_ok=True)
            picture(i, 20 + i, 40 - i).save(path)
        return ImageFolder(str(tmp_path))

    def test_workers_do_not_change_the_batches(self, source, assert_same_batches):
        found = []
        for workers in (0, 2):
            loader = TorchLoader(source, 5, pipeline=self.PIPELINE, num_workers=workers)
            found.append([*loader.epoch(0), *((0, batch) for batch in loader.evaluate())])
            loader.close()
        assert_same_batches(*found)
        assert all(batch.images.shape[1:] == (3, 12, 12) and batch.images.dtype == torch.uint8 for _, batch in found[0])

    def test_a_validation_pipeline_equals_its_steps(self, source):
        (batch,) = TorchLoader(source, 24, pipeline=[v2.Resize(16), v2.CenterCrop(12)]).evaluate()
        assert batch.labels.tolist() == [0] * 12 + [1] * 12
        for i, image in enumerate(batch.images):
            decoded = by_pillow(Path(source.paths[i]).read_bytes()).contiguous()
            expected = v2.functional.center_crop(v2.functional.resize(decoded, [16]), [12, 12])
            assert (image.int() - expected.int()).abs().max() <= 2

    @pytest.mark.parametrize("workers", [0, 1])
    def test_where_no_damaged_file_is_allowed_one_ends_the_run_with_its_name(self, source, workers):
        path = source.paths[7]
        Path(path).write_bytes(Path(path).read_bytes()[:-50])
        loader = TorchLoader(source, 4, pipeline=self.PIPELINE, num_workers=workers, max_damaged=0)
        with pytest.raises(
            UserError, match=rf"^{path} \(\d+ bytes\) is damaged, or no image: [^\n]+ max_damaged=0 [^\n]+$"
        ):
            list(loader.evaluate())
        loader.close()


class TestImageNet:
    """One folder for each of 1,000 synsets."""

    @pytest.fixture
    def root(self, tmp_path) -> Path:
        for split in ("train", "val"):
            for i in range(1000):
                (tmp_path / split / f"n{i:08d}").mkdir(parents=True)
                (tmp_path / split / f"n{i:08d}" / f"{split}_{i}.JPEG").touch()
        (tmp_path / "val" / "n00000007" / "val_7.JPEG").write_bytes(encoded(picture(7)))
        return tmp_path

    def test_splits(self, root):
        train, val = ImageNet(str(root)), ImageNet(str(root), "val")
        assert (len(train), len(val), train.num_classes) == (1000, 1000, 1000) and train.classes == val.classes
        assert val.paths[7].endswith("val/n00000007/val_7.JPEG") and val[7][1] == 7

    def test_another_number_of_classes(self, root):
        (root / "val" / "n00000007" / "val_7.JPEG").unlink()
        (root / "val" / "n00000007").rmdir()
        with pytest.raises(UserError, match=r"^ImageNet: .*val holds 999 folders .* of 1000 classes: n00000000, .*, "):
            ImageNet(str(root), "val")

    def test_unsorted_validation_images(self, tmp_path):
        write(tmp_path, "val/ILSVRC2012_val_00000001.JPEG")
        with pytest.raises(UserError, match=r"val holds no folder; .* validation images are not sorted"):
            ImageNet(str(tmp_path), "val")


class TestTinyImageNet:
    """The archive's layout, and those that people make of it."""

    NAMES = tuple(f"n{(i * 37) % 200:08d}" for i in range(200))  # as in the archive: in no order

    @pytest.fixture
    def archive(self, tmp_path) -> Path:
        for i, name in enumerate(self.NAMES):
            images = tmp_path / "train" / name / "images"
            images.mkdir(parents=True)
            (images / f"{name}_0.JPEG").touch()
            (images.parent / f"{name}_boxes.txt").touch()
            (tmp_path / "val" / "images").mkdir(parents=True, exist_ok=True)
            (tmp_path / "val" / "images" / f"val_{i}.JPEG").touch()
        rows = [f"val_{i}.JPEG\t{name}\t0\t32\t44\t62\n" for i, name in enumerate(self.NAMES)]
        (tmp_path / "val" / "val_annotations.txt").write_text("".join(rows))
        (tmp_path / "val" / "images" / "val_3.JPEG").write_bytes(encoded(picture(3, 64, 64)))
        return tmp_path

    def has_the_right_labels(self, source: TinyImageNet) -> bool:
        labels = {Path(path).name: label for path, label in listing(source)}
        return labels == {f"val_{i}.JPEG": (i * 37) % 200 for i in range(200)}

    def test_the_archive(self, archive):
        train, val = TinyImageNet(str(archive)), TinyImageNet(str(archive), "val")
        assert train.classes == val.classes == tuple(sorted(self.NAMES)) and train.num_classes == 200
        assert listing(train) == torchvision.datasets.ImageFolder(str(archive / "train")).samples
        assert self.has_the_right_labels(val)
        index = [Path(val.paths[i]).name for i in range(200)].index("val_3.JPEG")
        assert val[index][0].shape == (3, 64, 64) and val[index][1] == 111

    @pytest.mark.parametrize("place", ["val/{}", "val/{}/images", "val/images/{}"])
    def test_sorted_by_a_script(self, archive, place):
        for i, name in enumerate(self.NAMES):
            folder = archive / place.format(name)
            folder.mkdir(parents=True)
            (archive / "val" / "images" / f"val_{i}.JPEG").rename(folder / f"val_{i}.JPEG")
        val = TinyImageNet(str(archive), "val")
        assert val.classes == tuple(sorted(self.NAMES)) and self.has_the_right_labels(val)

    def test_what_is_wrong_is_said(self, archive):
        (archive / "val" / "images" / "val_x.JPEG").touch()
        with pytest.raises(UserError, match=r"val_annotations.txt lists no class for val_x.JPEG \(1 of 201 images\)"):
            TinyImageNet(str(archive), "val")
        (archive / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn1\n")
        with pytest.raises(UserError, match="names 1 classes, not 200"):
            TinyImageNet(str(archive), "val")
        (archive / "val" / "val_annotations.txt").unlink()
        with pytest.raises(UserError, match="holds 1 folders where there should be one for each of 200 classes"):
            TinyImageNet(str(archive), "val")
        with pytest.raises(UserError, match=r"no folder \S+nowhere/val; unpack tiny-imagenet-200.zip"):
            TinyImageNet(str(archive / "nowhere"), "val")

    def test_listed_images_that_are_missing_are_named(self, archive):
        for i in (7, 30):
            (archive / "val" / "images" / f"val_{i}.JPEG").unlink()
        with pytest.raises(
            UserError, match=r"val/images lacks val_30.JPEG \(2 of 200 that val_annotations.txt lists\)"
        ):
            TinyImageNet(str(archive), "val")

    def test_a_list_that_is_no_text(self, archive):
        (archive / "val" / "val_annotations.txt").write_bytes(b"\xff\xd8\xff\xe0")
        with pytest.raises(UserError, match=r"val_annotations.txt cannot be read: it is damaged, or no text"):
            TinyImageNet(str(archive), "val")


def test_walk_lists_every_folder(tmp_path):
    write(tmp_path, "a/2.jpg", "a/1.jpg", "a/b/3.png", "c/x.txt", "top.jpg")
    assert walk_images(tmp_path) == [("", ["top.jpg"]), ("a", ["1.jpg", "2.jpg"]), ("a/b", ["3.png"]), ("c", [])]


class TestStandIn:
    """A config is checked where its data is not."""

    @pytest.mark.parametrize(
        ("name", "options", "num_classes", "shape"),
        [
            ("ImageFolder", {"data_root": "nowhere", "num_classes": 7}, 7, (3, 256, 256)),
            ("ImageNet", {"split": "val"}, 1000, (3, 256, 256)),
            ("TinyImageNet", {}, 200, (3, 64, 64)),
        ],
    )
    def test_layout(self, name, options, num_classes, shape):
        stand_in = Synthetic.instead_of(SOURCES[name], options, length=2)
        assert (len(stand_in), stand_in.num_classes, stand_in.image_shape) == (2, num_classes, shape)

    def test_classes_are_counted_where_they_are(self, tmp_path):
        write(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg")
        assert ImageFolder.layout({"data_root": str(tmp_path), "split": "train"}) == (3, (3, 256, 256))
        with pytest.raises(UserError, match=r"no folder nowhere; .*with num_classes, a config can be checked without"):
            ImageFolder.layout({"data_root": "nowhere"})

    def config(self, lab, folder: Path, **dataset) -> str:
        crop = {"type": "RandomResizedCrop", "size": 16, "interpolation": 3}
        loader = {"type": "TorchLoader", "batch_size": 4, "num_workers": 1, "dataset": dataset, "pipeline": [crop]}
        val = {**loader, "pipeline": [{"type": "Resize", "size": 20}, {"type": "CenterCrop", "size": 16}]}
        model = {"backbone": {"in_channels": 3}, "head": {"num_classes": dataset.get("num_classes", 1000)}}
        return lab.write(folder, model=model, train_dataloader=loader, val_dataloader=val)

    @pytest.mark.parametrize("dataset", [{"type": "ImageNet"}, {"type": "ImageFolder", "num_classes": 10}])
    def test_a_dry_run_without_the_data(self, lab, tmp_path, dataset, capsys):
        from openmix.commands import run_command

        path = self.config(lab, tmp_path, data_root="nowhere", **dataset)
        assert run_command("check", [path, "--dry-run"]) == 0
        out = capsys.readouterr().out
        assert "train_dataloader: used random images, as" in out and "there is no folder nowhere" in out

    def test_a_dry_run_with_the_data(self, lab, tmp_path, capsys):
        from openmix.commands import run_command

        write(tmp_path / "data", *(f"{c}/{i}.jpg" for c in "abc" for i in range(4)))
        path = self.config(lab, tmp_path, type="ImageFolder", data_root=str(tmp_path / "data"), num_classes=3)
        assert run_command("check", [path, "--dry-run"]) == 0
        assert "random images" not in capsys.readouterr().out
