"""The data set: labels and images as they were packed, and DALI reads the same."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from openmix.commands import run_command
from openmix.data import ImageFolder
from openmix.data.recordio import ImageHeader, RecordFile, pack_image, write_records
from openmix.data.recordio.manifest import manifest_path
from openmix.data.sources.protocol import Source
from openmix.data.sources.recordio import RecordIO
from openmix.errors import DamagedImageError, UserError

PHOTOS = Path(__file__).resolve().parents[3] / "shared/data/photos"
MAGIC = 0xCED7230A

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A set of photographs, packed whole and in three files."""
    files = sorted(PHOTOS.glob("*.JPEG"))[:24]
    if not files:
        pytest.skip("there are no photographs at ../shared/data/photos")
    folder = tmp_path_factory.mktemp("photos")
    for number, file in enumerate(files):
        (folder / "set" / f"c{number % 5}").mkdir(parents=True, exist_ok=True)
        (folder / "set" / f"c{number % 5}" / file.name).symlink_to(file)
    for output, options in (("whole.rec", []), ("parts.rec", ["--shards", "3"])):
        arguments = ["make", str(folder / "set"), str(folder / output), "--jobs", "1", *options]
        assert run_command("rec", arguments) == 0
    return folder


def parts(folder: Path) -> list[str]:
    return [str(folder / f"parts-{number}-of-3.rec") for number in range(3)]


def write(path: Path, headers: list[ImageHeader], image: bytes = b"\xff\xd8\xff") -> str:
    write_records(path, [(number, pack_image(header, image)) for number, header in enumerate(headers)])
    return str(path)


class TestPhotographs:
    def test_they_are_the_folders(self, photos):
        folder, records = ImageFolder(str(photos / "set")), RecordIO(str(photos / "whole.rec"))
        assert isinstance(records, Source)
        assert records.classes == folder.classes
        keys = RecordFile(photos / "whole.rec").keys.tolist()
        assert sorted(keys) == list(range(24)) != keys
        for index, key in enumerate(keys):
            assert np.array_equal(records.encoded(index), folder.encoded(key))
            assert records.labels[index] == folder.labels[key]
        image, label = records[3]
        expected, expected_label = folder[keys[3]]
        assert torch.equal(image, expected) and label == expected_label

    def test_several_files_are_one_set(self, photos):
        whole, several = RecordIO(str(photos / "whole.rec")), RecordIO(parts(photos))
        assert torch.equal(whole.labels, several.labels)
        assert whole.classes == several.classes
        assert all(np.array_equal(whole.encoded(i), several.encoded(i)) for i in range(24))
        assert np.array_equal(whole.encoded(-1), several.encoded(23))
        assert several.name(8).startswith(f"{parts(photos)[1]}, record 0 (id ")
        with pytest.raises(IndexError):
            several.encoded(24)

    def test_taken_and_pickled(self, photos):
        several = RecordIO(parts(photos))
        for taken in (several.take(10), pickle.loads(pickle.dumps(several.take(10)))):
            assert len(taken) == len(taken.labels) == 10
            assert all(np.array_equal(taken.encoded(i), several.encoded(i)) for i in range(10))
            assert taken.num_classes == 5
        assert len(several.take(99)) == 24
        assert len(copy.copy(several)) == 24

    @pytest.mark.parametrize("sharded", [False, True])
    def test_dali_reads_the_same(self, photos, sharded):
        dali = pytest.importorskip("nvidia.dali")
        paths = parts(photos) if sharded else [str(photos / "whole.rec")]
        index = str(photos / ("parts.idx" if sharded else "whole.idx"))
        pipe = dali.Pipeline(batch_size=24, num_threads=1, device_id=None)
        with pipe:
            pipe.set_outputs(*dali.fn.readers.mxnet(path=paths, index_path=[index]))
        pipe.build()
        images, labels = pipe.run()
        records = RecordIO(paths)
        for number in range(24):
            assert np.array_equal(np.array(images[number]), records.encoded(number))
            assert float(np.array(labels[number])[0]) == float(records.labels[number])


def test_dali_reads_what_is_in_parts_and_what_has_two_labels(tmp_path):
    dali = pytest.importorskip("nvidia.dali")
    rng = np.random.default_rng(0)
    magic = MAGIC.to_bytes(4, "little")
    records = []
    for number in range(40):
        image = b"".join([magic, b"abcd", b"x"][i] for i in rng.integers(0, 3, 30))
        records.append((number, pack_image(ImageHeader(number, (float(number), 0.5)), image)))
    write_records(tmp_path / "a.rec", records)
    pipe = dali.Pipeline(batch_size=40, num_threads=1, device_id=None)
    with pipe:
        path, index = str(tmp_path / "a.rec"), str(tmp_path / "a.idx")
        pipe.set_outputs(*dali.fn.readers.mxnet(path=[path], index_path=[index]))
    pipe.build()
    images, labels = pipe.run()
    file = RecordFile(tmp_path / "a.rec")
    for number in range(40):
        header, image = file.read_image(number)
        assert np.array_equal(np.array(images[number]), image)
        assert tuple(np.array(labels[number]).tolist()) == header.label


class TestLabels:
    def test_metadata_is_left_out(self, tmp_path):
        """As InsightFace's files have it, at both ends."""
        images = [(n, pack_image(ImageHeader(n, float(n % 3)), b"\xff\xd8\xff")) for n in range(1, 7)]
        ends = [(n, pack_image(ImageHeader(n, (7.0, 9.0)), b"")) for n in (0, 7, 8)]
        write_records(tmp_path / "a.rec", [ends[0], *images, *ends[1:]])
        source = RecordIO(str(tmp_path / "a.rec"))
        assert source.labels.tolist() == [1, 2, 0, 1, 2, 0]
        assert source.name(0).endswith("record 1 (id 1, offset 40)")
        assert source.classes == ("0", "1", "2")

    def test_one_packed_label_is_one(self, tmp_path):
        path = write(tmp_path / "a.rec", [ImageHeader(MAGIC, (2.0,)), ImageHeader(MAGIC, 1.0), ImageHeader(5, (0.0,))])
        assert RecordIO(path).labels.tolist() == [2, 1, 0]

    @pytest.mark.parametrize("label", [float("nan"), float("inf"), -float("inf"), -1.0, 0.5, 2.0**24, 1e30])
    def test_what_is_no_class(self, tmp_path, label):
        path = write(tmp_path / "a.rec", [ImageHeader(0, 1.0), ImageHeader(7, label)])
        with pytest.raises(UserError, match=r"a.rec, record 1 \(id 1, offset 36\) has .* whole number from 0 up"):
            RecordIO(path)

    def test_several_labels(self, tmp_path):
        path = write(tmp_path / "a.rec", [ImageHeader(0, 1.0), ImageHeader(7, (1.0, 0.0, 1.0))])
        with pytest.raises(UserError, match="has 3 labels, where one number is the class"):
            RecordIO(path)

    def test_number_of_classes(self, tmp_path):
        path = write(tmp_path / "a.rec", [ImageHeader(0, 1.0), ImageHeader(7, 4.0)])
        assert RecordIO(path, num_classes=10).num_classes == 10
        assert RecordIO(path).num_classes == 5
        with pytest.raises(UserError, match=r"record 1 .* has the label 4, of 4 classes"):
            RecordIO(path, num_classes=4)

    def test_no_image(self, tmp_path):
        path = write(tmp_path / "a.rec", [])
        with pytest.raises(UserError, match="holds no image"):
            RecordIO(path)

    def test_paths_and_indices(self, photos):
        with pytest.raises(UserError, match="3 files as path, and 1 as index"):
            RecordIO(parts(photos), index=str(photos / "parts.idx"))
        with pytest.raises(UserError, match="0 files"):
            RecordIO([])


class TestClasses:
    def test_of_the_manifest(self, photos):
        with pytest.raises(UserError, match="has 5 classes, and num_classes is 6"):
            RecordIO(str(photos / "whole.rec"), num_classes=6)

    def test_different_ones(self, photos, tmp_path):
        paths = []
        for number, name in enumerate(["c0", "other"]):
            paths.append(write(tmp_path / f"{number}.rec", [ImageHeader(0, 0.0)]))
            content = json.loads(manifest_path(photos / "whole.rec").read_text())
            content |= {"classes": [name], "histogram": None}
            manifest_path(paths[-1]).write_text(json.dumps(content))
        with pytest.raises(UserError, match="different classes"):
            RecordIO(paths)

    def test_layout(self, photos, tmp_path):
        shape = (3, 256, 256)
        assert RecordIO.layout({"path": "nowhere.rec", "num_classes": 7}) == (7, shape)
        assert RecordIO.layout({"path": parts(photos)}) == (5, shape)
        path = write(tmp_path / "a.rec", [ImageHeader(0, 3.0)])
        assert RecordIO.layout({"path": path}) == (4, shape)
        with pytest.raises(UserError, match="with num_classes"):
            RecordIO.layout({"path": "nowhere.rec"})


class TestManifest:
    def test_no_image_is_read_for_the_labels(self, photos, monkeypatch):
        expected = RecordIO(str(photos / "whole.rec")).labels
        monkeypatch.setattr(RecordFile, "headers", lambda file: pytest.fail("the file was read"))
        assert torch.equal(RecordIO(str(photos / "whole.rec")).labels, expected)
        assert torch.equal(RecordIO(parts(photos)).labels, expected)

    def test_labels_are_compared_with_the_records(self, photos, tmp_path):
        content = bytearray((photos / "whole.rec").read_bytes())
        content[RecordFile(photos / "whole.rec").offsets[4] + 14] ^= 0x80
        for suffix in (".idx", ".json"):
            (tmp_path / f"a{suffix}").write_bytes((photos / f"whole{suffix}").read_bytes())
        (tmp_path / "a.rec").write_bytes(content)
        source = RecordIO(str(tmp_path / "a.rec"))
        with pytest.raises(DamagedImageError, match=r"record 4 .* its label is .*, and should be \d"):
            source.encoded(4)
        assert len(source.encoded(5))

    def test_of_another_file(self, photos, tmp_path):
        path = write(tmp_path / "a.rec", [ImageHeader(0, 3.0)])
        manifest_path(path).write_bytes((photos / "whole.json").read_bytes())
        with pytest.raises(UserError, match=r"a.rec has 36 bytes, and .*a.json, its manifest, says .* rec verify"):
            RecordIO(path)

    def test_an_index_that_lacks_records(self, photos, tmp_path):
        for suffix in (".rec", ".idx", ".json"):
            (tmp_path / f"a{suffix}").write_bytes((photos / f"whole{suffix}").read_bytes())
        index = tmp_path / "a.idx"
        lines = sorted(index.read_text().splitlines(keepends=True), key=lambda line: int(line.split()[1]))
        index.write_text("".join(lines[:5] + lines[6:]))
        with pytest.raises(UserError, match=r"a.idx has 23 records, and .* says 24; .* rec index --force"):
            RecordIO(str(tmp_path / "a.rec"))
        index.write_text("".join(lines[:5]))
        for _ in range(2):
            with pytest.raises(UserError, match=r"a.idx names 5 records, and .*a.rec holds more, from byte \d+ on"):
                RecordIO(str(tmp_path / "a.rec"))
            (tmp_path / "a.json").unlink(missing_ok=True)


class TestDamage:
    @pytest.mark.parametrize("byte", [0, 7])
    def test_one_record(self, photos, tmp_path, byte):
        """It raises when it is read; the others are as they were."""
        whole = RecordIO(str(photos / "whole.rec"))
        content = bytearray((photos / "whole.rec").read_bytes())
        content[RecordFile(photos / "whole.rec").offsets[4] + byte] ^= 0x80
        (tmp_path / "a.rec").write_bytes(content)
        (tmp_path / "a.idx").write_bytes((photos / "whole.idx").read_bytes())
        source = RecordIO(str(tmp_path / "a.rec"))
        with pytest.raises(DamagedImageError, match=r"a.rec, record 4 \(id \d+, offset \d+\) is damaged"):
            source[4]
        assert all(np.array_equal(source.encoded(i), whole.encoded(i)) for i in range(24) if i != 4)

    def test_an_image(self, tmp_path):
        path = write(tmp_path / "a.rec", [ImageHeader(0, 0.0)], b"\xff\xd8\xff")
        with pytest.raises(DamagedImageError, match=r"a.rec, record 0 \(id 0, offset 0\) \(3 bytes\) is damaged"):
            RecordIO(path)[0]

    def test_another_files_index(self, photos, tmp_path):
        (tmp_path / "a.rec").write_bytes((photos / "whole.rec").read_bytes())
        offsets = [0, *(i * 4000 + 4 for i in range(1, 24))]
        (tmp_path / "a.idx").write_text("".join(f"{i}\t{offset}\n" for i, offset in enumerate(offsets)))
        with pytest.raises(UserError, match="or its index is another file's"):
            RecordIO(str(tmp_path / "a.rec"))


def test_many_records_open_at_once(tmp_path):
    """Without a step in Python for each: 20,000 in far less than a second."""
    import time

    image = b"\xff\xd8\xff" + bytes(100)
    write_records(tmp_path / "a.rec", ((n, pack_image(ImageHeader(n, float(n % 7)), image)) for n in range(20_000)))
    RecordIO(str(tmp_path / "a.rec"))
    start = time.perf_counter()
    source = RecordIO(str(tmp_path / "a.rec"))
    assert time.perf_counter() - start < 1
    assert source.labels.tolist() == [n % 7 for n in range(20_000)]
