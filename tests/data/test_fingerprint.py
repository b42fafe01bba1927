"""A fingerprint is equal for equal sets wherever they lie, and another for any other set."""

import gc
import hashlib
import os
import shutil
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from openmix.commands import run_command
from openmix.data import ArraySource, ImageFolder, ResidentLoader, Shards, Synthetic, TorchLoader
from openmix.data import fingerprint as module
from openmix.data.fingerprint import movable_names, source_fingerprint
from openmix.data.loaders import PhasedLoader
from openmix.data.recordio import ImageHeader, pack_image, write_records
from openmix.data.sources import CachedImages, FileList, FileSource, RecordIO
from openmix.data.sources.files import PathList

IMAGES = torch.arange(6 * 3 * 4 * 4).reshape(6, 3, 4, 4).to(torch.uint8)
LABELS = torch.tensor([0, 1, 1, 2, 0, 1])
CLASSES = ("ant", "bee", "cat")


def array(images=IMAGES, labels=LABELS, classes=CLASSES) -> str:
    return source_fingerprint(ArraySource(images, labels, classes))


class TestInMemory:
    def test_it_is_sha256_of_what_the_set_is(self):
        """Written out by hand: checkpoints hold it, so it must not change."""
        pixels = hashlib.sha256(b"torch.uint8 (6, 3, 4, 4)" + bytes(i % 256 for i in range(288))).digest()
        labels = np.array([0, 1, 1, 2, 0, 1], "<i8").tobytes()
        whole = b"3:6 3" + b"11:ant\0bee\0cat" + b"48:" + labels + b"6:pixels" + b"32:" + pixels
        assert array() == f"6 images of 3 classes, {hashlib.sha256(whole).hexdigest()[:16]}"

    def test_any_other_set_has_another(self):
        one_pixel, one_label = IMAGES.clone(), LABELS.clone()
        one_pixel[5, 2, 3, 3] += 1
        one_label[3] = 1
        order = torch.tensor([0, 2, 1, 3, 4, 5])  # swaps two images of one label
        others = [
            array(),
            array(images=one_pixel),
            array(images=IMAGES[order]),
            array(images=IMAGES.view(6, 3, 2, 8)),
            array(images=IMAGES.flip(1)),
            array(labels=one_label),
            array(IMAGES[:5], LABELS[:5]),
            array(torch.cat([IMAGES, IMAGES[:1]]), torch.cat([LABELS, LABELS[:1]])),
            array(classes=("ant", "bee", "cow")),
            array(classes=("bee", "ant", "cat")),
            array(classes=(*CLASSES, "dog")),
            array(classes=("ant\0bee", "cat", "")),
            array(IMAGES[:0], LABELS[:0]),
        ]
        assert len(set(others)) == len(others)

    def test_memory_format_and_sharing_do_not_matter(self):
        last = IMAGES.contiguous(memory_format=torch.channels_last)
        assert not last.is_contiguous() and array(images=last) == array()
        more = ArraySource(torch.cat([IMAGES, IMAGES]), torch.cat([LABELS, LABELS]), CLASSES)
        assert source_fingerprint(more.take(6)) == array() != source_fingerprint(more)

    def test_large_sets_are_hashed_in_part_all_over(self, monkeypatch):
        """With room for half of 2,000 images every second one counts, up to the end."""
        images, labels = torch.zeros(2000, 1, 2, 2, dtype=torch.uint8), torch.zeros(2000, dtype=torch.long)
        monkeypatch.setattr(module, "MOST_BYTES", 4000)
        plain = array(images, labels)
        noticed = []
        for changed in (0, 1, 2, 1023, 1024, 1998, 1999):
            other = images.clone()
            other[changed, 0, 1, 1] = 1
            noticed += [changed] * (array(other, labels) != plain)
        assert noticed == [0, 2, 1024, 1998]
        assert array(images[:-1], labels[:-1]) != plain

    @pytest.mark.slow
    def test_the_cost_for_cifar(self):
        """About 0.08 s were measured; without the processor's instructions for it SHA-256 takes five times as long."""
        source = Synthetic(10, (3, 32, 32), 50_000)
        start = time.perf_counter()
        source.fingerprint()
        assert time.perf_counter() - start < 2


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not read")
    return root


FILES = ("ant/1.png", "ant/2.png", "bee/inner/1.png", "cat/9.jpg")


class TestFiles:
    def test_where_the_folder_lies_does_not_matter(self, tmp_path, monkeypatch):
        here = tree(tmp_path / "here", *FILES)
        shutil.copytree(here, tmp_path / "far" / "away")
        (tmp_path / "mounted").symlink_to(here)
        monkeypatch.chdir(tmp_path)
        places = [str(here), "here", "./far/../here/", "far/away", str(tmp_path / "mounted")]
        assert len({source_fingerprint(ImageFolder(place)) for place in places}) == 1
        assert source_fingerprint(ImageFolder("far", "away")) == source_fingerprint(ImageFolder("here"))

    def test_any_other_folder_has_another(self, tmp_path):
        sets = [
            FILES,
            FILES[1:],
            (*FILES, "ant/3.png"),
            ("ant/1.png", "ant/3.png", *FILES[2:]),
            ("ant/1.png", "bee/2.png", *FILES[2:]),
            ("ant/1.png", "ant/2.png", "bee/1.png", "cat/9.jpg"),
            ("ant/1.png", "ant/2.png", "bee/inner/1.png", "cow/9.jpg"),
        ]
        folders = [tree(tmp_path / str(number), *names) for number, names in enumerate(sets)]
        found = [source_fingerprint(ImageFolder(str(folder))) for folder in folders]
        whole = ImageFolder(str(folders[0]))
        found += [source_fingerprint(whole.take(2)), source_fingerprint(whole.take(3))]
        assert len(set(found)) == len(found)
        assert source_fingerprint(whole.take(4)) == found[0]

    def test_no_file_is_looked_at(self, tmp_path):
        """So what was overwritten is not noticed, and files that are gone cost nothing."""
        source = ImageFolder(str(tree(tmp_path / "set", *FILES)))
        before = source.fingerprint()
        (tmp_path / "set" / FILES[0]).write_bytes(b"something else")
        assert ImageFolder(str(tmp_path / "set")).fingerprint() == before
        shutil.rmtree(tmp_path / "set")
        assert source.fingerprint() == before

    def test_where_one_name_ends_matters(self):
        def of(*names):
            return FileSource(PathList("x", names), torch.zeros(2, dtype=torch.long), "a").fingerprint()

        assert of("ab", "c") != of("a", "bc")

    def test_the_first_ones_are_the_set_of_them(self):
        paths, labels = PathList("x", ["a/1.png", "a/2.png", "b/3.png"]), torch.tensor([0, 0, 1])
        first = FileSource(PathList("y", ["a/1.png", "a/2.png"]), labels[:2], "ab")
        assert FileSource(paths, labels, "ab").take(2).fingerprint() == first.fingerprint()

    @pytest.mark.parametrize("absolute", [True, False])
    def test_lists(self, tmp_path, absolute):
        """Also one of absolute paths: where their common folder is does not matter, what is below it does."""

        def of(folder: str, *rows: tuple[str, int]) -> str:
            root = tree(tmp_path / folder, *(name for name, _ in rows))
            lines = [f"{root / name if absolute else name} {label}\n" for name, label in rows]
            (tmp_path / "list.txt").write_text("".join(lines))
            return FileList(str(root), str(tmp_path / "list.txt"), num_classes=3).fingerprint()

        rows = [("a/1.png", 0), ("b/1.png", 2), ("b/2.png", 2)]
        assert of("one", *rows) == of("two", *rows) == of("longer/name", *rows)
        others = [
            [rows[1], rows[0], rows[2]],
            [rows[0], rows[2], rows[1]],
            rows[:2],
            [*rows, rows[0]],
            [*rows[:2], ("b/2.png", 1)],
            [*rows[:2], ("b/3.png", 2)],
            [*rows[:2], ("a/2.png", 2)],
        ]
        found = [of("one", *other) for other in others]
        assert len({of("one", *rows), *found}) == 8

    def test_absolute_and_relative_names_in_one_list(self):
        names = [b"a/1.png", b"/disk/set/b/1.png", b"", b"/disk/set/c.png"]
        text, ends = movable_names(b"".join(names), np.cumsum([len(name) for name in names]))
        assert (text, ends.tolist()) == (b"a/1.png/b/1.png/c.png", [7, 15, 15, 21])

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ([b"/d/a.png"], b"/a.png"),
            ([b"/d/a.png", b"/d/a.png"], b"/a.png/a.png"),
            ([b"/d/cat1/1.png", b"/d/cat/1.png"], b"/cat1/1.png/cat/1.png"),  # no cut within a name
            ([b"/d/c", b"/d/c/1.png"], b"/c/c/1.png"),
            ([b"/x/1.png", b"/y/1.png"], b"/x/1.png/y/1.png"),
        ],
    )
    def test_the_common_folder_of_absolute_names(self, names, expected):
        assert movable_names(b"".join(names), np.cumsum([len(name) for name in names]))[0] == expected

    @pytest.mark.slow
    def test_the_cost_for_imagenet(self):
        """1.2 million names; 0.03 s were measured, and 0.5 s for absolute ones."""
        names = [f"n{c:08d}/n{c:08d}_{i}.JPEG" for c in range(1000) for i in range(1200)]
        labels, classes = torch.arange(1000).repeat_interleave(1200), [str(c) for c in range(1000)]
        for prefix in ("", "/disk/train/"):
            source = FileSource(PathList("x", [prefix + name for name in names]), labels, classes)
            start = time.perf_counter()
            source.fingerprint()
            assert time.perf_counter() - start < 5


class TestRecords:
    def write(self, path: Path, labels: list[int], images: list[bytes]) -> str:
        path.parent.mkdir(exist_ok=True)
        pairs = zip(labels, images, strict=True)
        write_records(path, [(i, pack_image(ImageHeader(i, float(x)), image)) for i, (x, image) in enumerate(pairs)])
        return str(path)

    def test_sizes_places_and_labels_count(self, tmp_path):
        labels, images = [0, 1, 1, 2], [b"\xff\xd8" + b"x" * n for n in (10, 20, 30, 40)]
        variants = [
            (labels, images),
            ([0, 1, 2, 2], images),
            (labels[:3], images[:3]),
            ([*labels, 0], [*images, images[0]]),
            (labels, [images[0], images[2], images[1], images[3]]),
            (labels, [*images[:3], images[3] + b"y" * 4]),
        ]
        sets = [RecordIO(self.write(tmp_path / f"{i}.rec", *variant), None, 3) for i, variant in enumerate(variants)]
        found = [source.fingerprint() for source in sets]
        found += [sets[0].take(2).fingerprint(), RecordIO([sets[0].files[0].path, sets[1].files[0].path]).fingerprint()]
        assert len(set(found)) == len(found)
        assert sets[0].take(9).fingerprint() == found[0]

    def test_the_place_an_index_and_what_is_overwritten_do_not(self, tmp_path):
        labels, images = [0, 1, 2], [b"\xff\xd8abcdef"] * 3
        before = RecordIO(self.write(tmp_path / "a.rec", labels, images)).fingerprint()
        moved = self.write(tmp_path / "other" / "b.rec", labels, [b"\xff\xd8ghijkl"] * 3)
        assert RecordIO(moved).fingerprint() == before
        os.remove(Path(moved).with_suffix(".idx"))
        assert RecordIO(moved).fingerprint() == before

    def test_which_records_are_images_counts(self, tmp_path):
        """Metadata before an image, and after one; sizes and places are the same."""
        metadata, image = (
            pack_image(ImageHeader(0, (1.0, 2.0)), b""),
            pack_image(ImageHeader(1, 1.0), b"\xff\xd8abcdef"),
        )
        for name, records in (("1.rec", [metadata, image]), ("2.rec", [image, metadata])):
            write_records(tmp_path / name, list(enumerate(records)))
        one, other = RecordIO(str(tmp_path / "1.rec")), RecordIO(str(tmp_path / "2.rec"))
        assert one.files[0].offsets.tolist() == other.files[0].offsets.tolist() and len(one) == len(other) == 1
        assert one.fingerprint() != other.fingerprint()


class TestCaches:
    def cache(self, root: Path, grey: int) -> Path:
        from PIL import Image

        for i in range(4):
            (root / "set" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (grey + i,) * 3).save(root / "set" / "ab"[i % 2] / f"{i}.png")
        assert run_command("data", ["cache", str(root / "set"), str(root / "out"), "--size", "8", "--jobs", "1"]) == 0
        return root / "out"

    def test_the_header_says_what_the_images_are(self, tmp_path):
        first, other = self.cache(tmp_path / "1", 10), self.cache(tmp_path / "2", 11)
        shutil.copytree(first, tmp_path / "3")
        source = CachedImages(str(first))
        before = source.fingerprint()
        assert CachedImages(str(tmp_path / "3")).fingerprint() == source.take(4).fingerprint() == before
        found = {before, CachedImages(str(other)).fingerprint(), source.take(3).fingerprint()}
        assert len(found | {source.take(2).fingerprint(), source.take(3).take(2).fingerprint()}) == 4
        source.images.zero_()  # reaches no file; that nothing changes shows that no image was read
        assert source.fingerprint() == before and source.take(3).fingerprint() in found

    def test_the_first_ones_are_a_set_as_before(self, tmp_path):
        source = CachedImages(str(self.cache(tmp_path, 10)))
        taken = source.take(3)
        assert len(taken) == 3 and taken.classes == source.classes and taken.image_shape == source.image_shape
        assert taken.images.data_ptr() == source.images.data_ptr() and torch.equal(taken.labels, source.labels[:3])


class Own:
    """A user's own source, which knows nothing of fingerprints."""

    num_classes = 2

    def __init__(self, length: int, classes: tuple[str, ...] = ("a", "b")) -> None:
        self.length, self.classes = length, classes

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return torch.full((3, 4, 4), index, dtype=torch.uint8), index % 2

    def take(self, count):
        return Own(count, self.classes)


class TestOnesOwn:
    def test_length_and_classes_and_labels_where_there_are_any(self):
        def labelled(*labels, kind=torch.tensor):
            source = Own(4)
            source.labels = kind(labels)
            return source

        sets = [Own(4), Own(5), Own(4, ("a", "c")), labelled(0, 1, 0, 1), labelled(0, 1, 1, 1)]
        found = [source_fingerprint(source) for source in sets]
        assert len(set(found)) == 5
        assert source_fingerprint(Own(4)) == source_fingerprint(labelled(0, 1, kind=list)) == found[0]

    def test_a_method_of_its_own_is_asked(self):
        source = Own(4)
        source.fingerprint = lambda: "mine, version 3"
        assert source_fingerprint(source) == TorchLoader(source, 2).fingerprint() == "mine, version 3"


class TestLoaders:
    @pytest.mark.parametrize("kind", [TorchLoader, ResidentLoader])
    def test_it_is_the_sets_whatever_the_loader_does(self, kind):
        source = Synthetic(10, (3, 8, 8), 40)
        loaders = [
            kind(source, 4),
            kind(source, 5, seed=3, shards=Shards(1, 2), pipeline=[v2.RandomCrop(8, padding=1)]),
        ]
        for loader in loaders:
            assert loader.fingerprint() == source_fingerprint(source)
            next(loader.epoch(0))
            loader.close()
            assert loader.fingerprint() == source_fingerprint(source)
        assert kind(source.take(39), 4).fingerprint() != source_fingerprint(source)

    def test_a_resident_loader_does_not_keep_the_set(self):
        source = Synthetic(10, (3, 8, 8), 40)
        known, images = source_fingerprint(source), weakref.ref(source)
        loader = ResidentLoader(source, 4, pipeline=[v2.RandomCrop(8, padding=1)])
        del source
        gc.collect()
        assert images() is None and loader.fingerprint() == known

    def test_phases_are_told_one_after_the_other(self):
        small, large = (TorchLoader(Synthetic(10, (1, size, size), 30), 3) for size in (4, 8))
        one, other = PhasedLoader([small, large], [0, 2]), PhasedLoader([large, small], [0, 2])
        assert one.fingerprint() == f"{small.fingerprint()} then {large.fingerprint()}"
        assert one.fingerprint() != other.fingerprint()

    def test_phases_of_a_loader_of_ones_own(self):
        class Mine:
            num_samples, num_classes, classes = 30, 2, ("a", "b")

        ours = TorchLoader(Own(30), 3)
        assert PhasedLoader([ours, Mine()], [0, 1]).fingerprint() == f"{ours.fingerprint()} then {ours.fingerprint()}"
