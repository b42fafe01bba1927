"""rec: what is packed is what was there, whatever happens on the way."""

import contextlib
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.commands import run_command
from openmix.data import ImageFolder
from openmix.data.recordio import RecordFile, read_manifest, verify
from openmix.data.resizing import scaled
from openmix.data.sources.recordio import RecordIO

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def rec(*arguments: object) -> int:
    return run_command("rec", [str(argument) for argument in arguments])


def picture(path: Path, seed: int, width: int = 40, height: int = 30) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path) -> Path:
    for number in range(30):
        suffix = ".png" if number % 7 == 0 else ".jpg"
        picture(tmp_path / "set" / f"c{number % 3}" / f"i{number}{suffix}", number, 20 + number, 50 - number)
    return tmp_path / "set"


def contents(path: Path) -> dict[int, bytes]:
    file = RecordFile(path)
    return {int(file.keys[i]): file.read_image(i)[1].tobytes() for i in range(len(file))}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "set")


class TestMake:
    def test_bytes_as_they_are(self, tree, tmp_path, capsys):
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 2) == 0
        assert f"30 images are in {tmp_path / 'a.rec'}" in capsys.readouterr().out
        folder = ImageFolder(str(tree))
        assert contents(tmp_path / "a.rec") == {i: folder.encoded(i).tobytes() for i in range(30)}
        source = RecordIO(str(tmp_path / "a.rec"))
        assert source.classes == folder.classes == ("c0", "c1", "c2")
        assert source.labels.tolist() == [int(folder.labels[key]) for key in RecordFile(tmp_path / "a.rec").keys]
        assert left(tmp_path) == ["a.idx", "a.json", "a.rec"]
        manifest = read_manifest(tmp_path / "a.rec")
        assert manifest and (manifest.count, manifest.histogram) == (30, (10, 10, 10))
        assert manifest.options == {"pass_through": True, "shuffle": 100}

    def test_the_same_bytes_with_any_number_of_jobs(self, tree, tmp_path):
        for jobs in (1, 3):
            assert rec("make", tree, tmp_path / str(jobs) / "a.rec", "--jobs", jobs, "--resize", 16) == 0
        for name in ("a.rec", "a.idx", "a.json"):
            assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()

    def test_order(self, tree, tmp_path):
        import random

        for number, options in enumerate([["--no-shuffle"], [], ["--seed", 7]]):
            assert rec("make", tree, tmp_path / f"{number}.rec", "--jobs", 1, *options) == 0
            expected = list(range(30))
            if number:
                random.Random(100 if number == 1 else 7).shuffle(expected)
            assert RecordFile(tmp_path / f"{number}.rec").keys.tolist() == expected

    @pytest.mark.parametrize("encoding", ["jpg", "png"])
    @pytest.mark.parametrize("color", ["rgb", "grey"])
    def test_encoding_is_pillows(self, tree, tmp_path, encoding, color):
        options = ["--resize", 24, "--center-crop", "--encoding", encoding, "--color", color, "--filter", "lanczos"]
        options += ["--quality", 80] if encoding == "jpg" else []
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1, *options) == 0
        found, folder = contents(tmp_path / "a.rec"), ImageFolder(str(tree))
        for key in range(0, 30, 5):
            with Image.open(folder.paths[key]) as original:
                size = scaled(original.width, original.height, 24)
                image = original.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            left_, top = (image.width - 24) // 2, (image.height - 24) // 2
            image = image.crop((left_, top, left_ + 24, top + 24)).convert("L" if color == "grey" else "RGB")
            file = io.BytesIO()
            image.save(file, **({"format": "JPEG", "quality": 80} if encoding == "jpg" else {"format": "PNG"}))
            with Image.open(io.BytesIO(found[key])) as ours, Image.open(file) as expected:
                assert (ours.size, ours.mode, ours.format) == (expected.size, expected.mode, expected.format)
                difference = np.abs(np.asarray(ours).astype(int) - np.asarray(expected))
                assert difference.mean() < 1.5  # two JPEG decoders

    def test_shards(self, tree, tmp_path):
        assert rec("make", tree, tmp_path / "whole.rec", "--jobs", 1) == 0
        assert rec("make", tree, tmp_path / "a.rec", "--shards", 4, "--jobs", 1) == 0
        paths = [tmp_path / f"a-{number}-of-4.rec" for number in range(4)]
        assert [len(RecordFile(path)) for path in paths] == [7, 8, 7, 8]
        assert b"".join(path.read_bytes() for path in paths) == (tmp_path / "whole.rec").read_bytes()
        assert (tmp_path / "a.idx").read_bytes() == (tmp_path / "whole.idx").read_bytes()

    def test_classes_are_shared_by_splits(self, tree, tmp_path):
        picture(tmp_path / "val" / "c2" / "x.jpg", 1)
        classes = tmp_path / "classes.json"
        assert rec("make", tree, tmp_path / "a.rec", "--classes", classes, "--jobs", 1) == 0
        assert json.loads(classes.read_text()) == ["c0", "c1", "c2"]
        assert rec("make", tmp_path / "val", tmp_path / "b.rec", "--classes", classes) == 0
        source = RecordIO(str(tmp_path / "b.rec"))
        assert (source.labels.tolist(), source.num_classes) == ([2], 3)
        classes.write_text('{"c2": 0, "c0": 1, "c1": 2}')
        assert rec("make", tmp_path / "val", tmp_path / "c.rec", "--classes", classes) == 0
        assert RecordIO(str(tmp_path / "c.rec")).labels.tolist() == [0]

    def test_the_same_again_does_nothing(self, tree, tmp_path, capsys):
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 0
        before = (tmp_path / "a.rec").stat().st_mtime_ns
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 2) == 0
        assert "which was there" in capsys.readouterr().out
        assert (tmp_path / "a.rec").stat().st_mtime_ns == before

    def test_another_set_is_not_written_over(self, tree, tmp_path, capsys):
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 0
        before = (tmp_path / "a.rec").read_bytes()
        for change in ([], ["--resize", 8]):
            (tree / "c0" / "i0.png").unlink(missing_ok=True)
            assert rec("make", tree, tmp_path / "a.rec", *change) == 2
            assert "--force writes over it" in capsys.readouterr().err
        assert (tmp_path / "a.rec").read_bytes() == before
        assert rec("make", tree, tmp_path / "a.rec", "--force", "--jobs", 1) == 0
        assert len(RecordIO(str(tmp_path / "a.rec"))) == 29
        assert verify(tmp_path / "a.rec").damages == []

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (["--jobs", 0], "--jobs must be at least 1, got 0"),
            (["--shards", 0], "--shards must be at least 1"),
            (["--shards", 31], "--shards 31 is more than there are images (30)"),
            (["--shards", 10**15], "is more than there are images (30)"),
            (["--resize", -1], "--resize must be at least 1"),
            (["--quality", 101], "--quality must be in 1..100"),
            (["--quality", 9, "--encoding", "png"], "loses nothing"),
            (["--filter", "box"], "--filter is for --resize"),
            (["--root", "x"], "--root is for a list"),
            (["--pack-label"], "--pack-label is for a list"),
        ],
    )
    def test_wrong_options(self, tree, tmp_path, capsys, options, reason):
        assert rec("make", tree, tmp_path / "a.rec", *options) == 2
        assert reason in capsys.readouterr().err
        assert left(tmp_path) == []

    def test_wrong_paths(self, tree, tmp_path, capsys):
        for source, output, reason in (
            (tmp_path / "no", "a.rec", "there is no folder or list"),
            (tree, "a.record", "must end in .rec"),
            (tree / "c0", "a.rec", "holds no folder"),
        ):
            assert rec("make", source, tmp_path / output) == 2
            assert reason in capsys.readouterr().err

    def test_folders_are_made(self, tree, tmp_path):
        assert rec("make", tree, tmp_path / "new/a.rec", "--classes", tmp_path / "other/c.json", "--jobs", 1) == 0
        assert json.loads((tmp_path / "other/c.json").read_text()) == ["c0", "c1", "c2"]
        assert rec("list", tree, tmp_path / "lists/of/a.lst") == 0
        assert (tmp_path / "lists/of/a.lst").exists()

    def test_a_class_without_images_is_a_message(self, tree, tmp_path, capsys):
        (tree / "c9").mkdir()
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 0
        assert capsys.readouterr().err == f"warning: {tree}: no image of 1 of 4 classes: c9\n"

    def test_wrong_classes(self, tree, tmp_path, capsys):
        file = tmp_path / "classes.json"
        for content, reason in (
            ('["c0", "c1"]', "is none of the 2 classes"),
            ('["c0", "c0"]', "names a class twice"),
            ('{"c0": 1}', "should hold a list"),
            ("[", "cannot be read"),
            ("[]", "should hold a list"),
        ):
            file.write_text(content)
            assert rec("make", tree, tmp_path / "a.rec", "--classes", file) == 2
            assert reason in capsys.readouterr().err


class TestBadImages:
    @pytest.fixture
    def bad(self, tree) -> Path:
        (tree / "c1" / "text.jpg").write_text("no image")
        (tree / "c1" / "empty.jpg").write_bytes(b"")
        (tree / "c2" / "gone.jpg").symlink_to("nowhere")
        return tree

    def test_they_are_listed(self, bad, tmp_path, capsys):
        assert rec("make", bad, tmp_path / "a.rec", "--jobs", 2) == 1
        said = capsys.readouterr().err
        assert "3 images failed" in said and "is not finished" in said
        lines = (tmp_path / "a.rec.failures.txt").read_text().splitlines()
        assert [line.split("\t")[0] for line in lines] == [
            str(bad / name) for name in ("c1/empty.jpg", "c1/text.jpg", "c2/gone.jpg")
        ]
        assert not (tmp_path / "a.rec").exists()
        assert rec("make", bad, tmp_path / "a.rec", "--jobs", 2, "--skip-bad") == 0
        assert len(RecordIO(str(tmp_path / "a.rec"))) == 30
        assert verify(tmp_path / "a.rec").damages == []
        assert left(tmp_path) == ["a.idx", "a.json", "a.rec", "a.rec.failures.txt"]

    def test_one_that_can_be_read_again(self, bad, tmp_path):
        """It comes where it belongs, not at the end."""
        assert rec("make", bad, tmp_path / "a.rec", "--jobs", 1, "--no-shuffle") == 1
        (bad / "c1" / "empty.jpg").unlink()
        (bad / "c1" / "text.jpg").unlink()
        picture(tmp_path / "new.jpg", 1)
        (bad / "c2" / "gone.jpg").unlink()
        os.replace(tmp_path / "new.jpg", bad / "c2" / "gone.jpg")
        assert rec("make", bad, tmp_path / "a.rec", "--jobs", 1, "--no-shuffle") == 0
        assert contents(tmp_path / "a.rec") == {i: ImageFolder(str(bad)).encoded(i).tobytes() for i in range(31)}
        assert not (tmp_path / "a.rec.failures.txt").exists()

    def test_damaged_ones_by_check(self, tree, tmp_path):
        path = tree / "c0" / "i3.jpg"
        path.write_bytes(path.read_bytes()[:-200])
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 0
        assert rec("make", tree, tmp_path / "b.rec", "--jobs", 1, "--check") == 1
        assert rec("make", tree, tmp_path / "c.rec", "--jobs", 1, "--resize", 8) == 1

    def test_check_decodes_what_was_packed_without(self, tree, tmp_path, capsys):
        """Neither the records of a part file nor those of a finished one count as decoded."""
        path = tree / "c0" / "i3.jpg"
        path.write_bytes(path.read_bytes()[:-200])
        (tree / "c2" / "text.jpg").write_text("no image")
        a, b = tmp_path / "a.rec", tmp_path / "b.rec"
        assert rec("make", tree, a, "--jobs", 1) == 1  # the part file stays
        assert rec("make", tree, a, "--jobs", 1, "--check") == 1
        assert "2 images failed" in capsys.readouterr().err
        (tree / "c2" / "text.jpg").unlink()
        assert rec("make", tree, b, "--jobs", 1) == 0
        assert rec("make", tree, b, "--jobs", 1, "--check") == 2
        assert f"{b} is there, and was packed without --check; --force packs it again" in capsys.readouterr().err
        assert rec("make", tree, b, "--jobs", 1, "--check", "--force") == 1
        assert rec("make", tree, b, "--jobs", 1, "--check", "--force", "--skip-bad") == 0
        assert read_manifest(b).options == {"pass_through": True, "shuffle": 100, "checked": True}
        for options in ([], ["--check"]):
            assert rec("make", tree, b, "--jobs", 1, *options) == 0
            assert "29 images are in" in (said := capsys.readouterr().out) and "which was there" in said

    def test_all(self, tmp_path):
        (tmp_path / "set" / "a").mkdir(parents=True)
        (tmp_path / "set" / "a" / "a.jpg").write_text("none")
        assert rec("make", tmp_path / "set", tmp_path / "a.rec", "--skip-bad") == 1
        assert not (tmp_path / "a.rec").exists()


class TestLists:
    def test_there_and_back(self, tree, tmp_path):
        assert rec("list", tree, tmp_path / "a.lst") == 0
        line = (tmp_path / "a.lst").read_text().splitlines()[0].split("\t")
        folder = ImageFolder(str(tree))
        assert folder.paths[int(line[0])] == str(tree / line[2])
        assert line[1] == f"{int(folder.labels[int(line[0])])}.000000"
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec", "--root", tree, "--jobs", 1) == 0
        assert rec("make", tree, tmp_path / "b.rec", "--jobs", 1) == 0
        assert (tmp_path / "a.rec").read_bytes() == (tmp_path / "b.rec").read_bytes()
        assert rec("list", tree, tmp_path / "a.lst") == 2

    def test_several_labels(self, tree, tmp_path, capsys):
        (tmp_path / "a.lst").write_text("5\t1\t0.5\tset/c0/i3.jpg\n\n2\t0\t-1\tset/c1/i1.jpg\r\n")
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec") == 2
        assert "only --pack-label packs" in capsys.readouterr().err
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec", "--pack-label") == 0
        file = RecordFile(tmp_path / "a.rec")
        assert [file.read_image(i)[0] for i in range(2)] == [(5, (1.0, 0.5)), (2, (0.0, -1.0))]

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "names no image"),
            ("1\tx.jpg\n", "line 1: there are 0 labels"),
            ("1\t2\tx.jpg\nx\t2\ty.jpg\n", "line 2: 'x' is no number of an image"),
            ("-1\t2\tx.jpg\n", "'-1' is no number"),
            ("1\tcat\tx.jpg\n", "line 1: could not convert"),
            ("1\tnan\tx.jpg\n", "'nan' is no label"),
            ("1\t1e39\tx.jpg\n", "'1e39' is no label"),
            (
                "1\t2\tx.jpg\n2\t-1\ty.jpg\n",
                "a.lst, line 2: the label '-1' is no class, a whole number from 0 to 16777215",
            ),
            ("1\t1.5\tx.jpg\n", "'1.5' is no class"),
            ("1\t1e30\tx.jpg\n", "'1e30' is no class"),
            ("1\t16777217\tx.jpg\n", "'16777217' is no class"),
            ("1\t1.00000001\tx.jpg\n", "'1.00000001' is no class"),
            ("1\t2\tx.jpg\n2\t2\ty\0.jpg\n", "a.lst, line 2: the path 'y\\x00.jpg' holds a NUL byte"),
            ("1\t2\tx.jpg\n1\t2\ty.jpg\n", "a number twice"),
            ("1\t2\tx.jpg\n2\t2\t3\ty.jpg\n", "there are 2 labels, where there should be 1"),
            ("one line without tabs\n", "line 1: 'one line without tabs' is no number"),
        ],
    )
    def test_wrong_ones(self, tmp_path, capsys, text, reason):
        (tmp_path / "a.lst").write_text(text)
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec") == 2
        assert reason in capsys.readouterr().err

    def test_any_label_by_pack_label(self, tree, tmp_path):
        (tmp_path / "a.lst").write_text("1\t-1\tset/c0/i3.jpg\n2\t1.5\tset/c1/i1.jpg\n")
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec", "--pack-label") == 0
        file = RecordFile(tmp_path / "a.rec")
        assert [file.read_image(i)[0].label for i in range(2)] == [-1, 1.5]
        assert read_manifest(tmp_path / "a.rec").histogram is None

    def test_a_byte_order_mark(self, tree, tmp_path):
        (tmp_path / "a.lst").write_text("1\t2\tset/c0/i3.jpg\n", "utf-8-sig")
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec") == 0
        assert RecordFile(tmp_path / "a.rec").keys.tolist() == [1]

    def test_a_list_of_another_root(self, tree, tmp_path, capsys):
        (tmp_path / "a.lst").write_text("1\t2\tc0/i3.jpg\n2\t2\tc1/i1.jpg\n")
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec") == 2
        said = capsys.readouterr().err
        assert f"none of the 2 images is there, such as {tmp_path / 'c0/i3.jpg'}; --root DIR" in said
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec", "--root", tree) == 0

    def test_pipes_are_not_waited_for(self, tree, tmp_path, capsys):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "a.lst").write_text("1\t2\tset/c0/i3.jpg\n2\t2\tpipe\n")
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec", "--jobs", 1) == 1
        assert f"{tmp_path / 'pipe'}\tis no regular file" in capsys.readouterr().err
        assert rec("make", tmp_path / "pipe", tmp_path / "a.rec") == 2
        assert "is neither a folder nor a regular file" in capsys.readouterr().err
        assert rec("make", tree, tmp_path / "b.rec", "--classes", tmp_path / "pipe") == 2
        assert "it is no regular file" in capsys.readouterr().err

    def test_classes(self, tree, tmp_path, capsys):
        (tmp_path / "a.lst").write_text("1\t3\tset/c0/i3.jpg\n")
        (tmp_path / "c.json").write_text('["a", "b"]')
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec", "--classes", tmp_path / "c.json") == 2
        assert "the label 3 is none of 2 classes" in capsys.readouterr().err
        assert rec("make", tmp_path / "a.lst", tmp_path / "a.rec", "--classes", tmp_path / "no.json") == 2


class TestFiles:
    def test_class_names_stay_in_their_column(self, tree, tmp_path, capsys):
        os.replace(tree / "c1", tree / "c\t1\n")
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 0
        capsys.readouterr()
        assert rec("ls", tmp_path / "a.rec") == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        assert len(lines) == 30 and {line[5] for line in lines} == {"c0", r"c\t1\n", "c2"}

    @pytest.fixture
    def packed(self, tree, tmp_path) -> Path:
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 0
        return tmp_path / "a.rec"

    def test_index(self, packed, capsys):
        offsets = RecordFile(packed).offsets.tolist()
        assert rec("index", packed) == 2
        packed.with_suffix(".idx").unlink()
        assert rec("index", packed) == 0
        assert packed.with_suffix(".idx").read_text() == "".join(f"{i}\t{o}\n" for i, o in enumerate(offsets))
        packed.write_bytes(packed.read_bytes()[:-8])
        assert rec("index", packed, "--force") == 2
        assert "is damaged, or no RecordIO file" in capsys.readouterr().err

    def test_manifest_of_a_file_from_elsewhere(self, packed):
        before = read_manifest(packed)
        packed.with_suffix(".json").unlink()
        assert rec("index", packed, "--manifest") == 0
        after = read_manifest(packed)
        assert before and after and (after.sha256, after.index_sha256) == (before.sha256, before.index_sha256)
        assert np.array_equal(after.digests, before.digests)
        assert verify(packed).damages == []

    def test_a_new_manifest_keeps_the_classes(self, packed):
        before = packed.with_suffix(".json").read_bytes()
        assert rec("index", packed, "--manifest") == 2
        assert rec("index", packed, "--manifest", "--force") == 0
        assert packed.with_suffix(".json").read_bytes() == before

    def test_verify(self, packed, capsys):
        assert rec("verify", packed) == 0
        assert capsys.readouterr().out == f"{packed}: 30 records are whole, by SHA-256; nothing damaged\n"
        file = RecordFile(packed)
        content = bytearray(packed.read_bytes())
        content[file.offsets[5] + 100] ^= 1
        content[file.offsets[9] + 1] ^= 1
        packed.write_bytes(content)
        assert rec("verify", packed, packed) == 1
        out = capsys.readouterr().out
        assert out.count(f"record 5 (id {file.keys[5]}, offset {file.offsets[5]}) is damaged: its SHA-256") == 2
        assert out.count(f"record 9 (id {file.keys[9]}, offset {file.offsets[9]}) is damaged: there is no magic") == 2
        assert "28 records are whole, by SHA-256; 2 damages" in out
        assert rec("verify", packed.with_name("no.rec")) == 2

    def test_ls(self, packed, capsys):
        assert rec("ls", packed) == 0
        lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        file = RecordFile(packed)
        for number, line in enumerate(lines):
            header, image = file.read_image(number)
            expected = [number, header.id, file.offsets[number], len(image), int(header.label), f"c{int(header.label)}"]
            assert line == [str(value) for value in expected]

    def test_extract(self, packed, tree, tmp_path):
        assert rec("extract", packed, tmp_path / "out") == 0
        folder, out = ImageFolder(str(tree)), ImageFolder(str(tmp_path / "out"))
        assert out.classes == folder.classes
        for key in range(30):
            suffix = Path(folder.paths[key]).suffix
            file = tmp_path / "out" / f"c{int(folder.labels[key])}" / f"{key:08d}{suffix}"
            assert file.read_bytes() == folder.encoded(key).tobytes()
        assert rec("extract", packed, tmp_path / "out") == 2

    def test_extract_stays_in_its_folder(self, packed, tmp_path):
        manifest = packed.with_suffix(".json")
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"classes": ["../x", "/y", ".."]}))
        assert rec("extract", packed, tmp_path / "out") == 0
        assert left(tmp_path / "out") == ["0", "1", "2"]


def start(tree: Path, output: Path, *options: object) -> subprocess.Popen[str]:
    code = "import sys; from openmix.commands import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "rec", "make", tree, output, "--jobs", "2", "--resize", "96", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class TestStopped:
    @pytest.fixture
    def many(self, tmp_path) -> Path:
        for number in range(100):
            picture(tmp_path / "set" / f"c{number % 3}" / f"{number}.bmp", number, 600, 500)
        return tmp_path / "set"

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_it_goes_on(self, many, tmp_path, number):
        part = tmp_path / "a.rec.part"
        process = start(many, tmp_path / "a.rec")
        wait_for(lambda: (part.exists() and part.stat().st_size > 50_000) or process.poll() is not None)
        process.send_signal(number)
        error = process.communicate(timeout=60)[1]
        assert process.returncode == (75 if number == signal.SIGTERM else -9), error
        if number == signal.SIGTERM:
            assert error == "stopped by SIGTERM; the same command goes on from here\n"
        assert not (tmp_path / "a.rec").exists()
        with open(tmp_path / ".a.rec.lock", "a") as lock:  # until the processes have stopped
            wait_for(lambda: not is_locked(lock))
        size = part.stat().st_size
        assert size > 50_000
        inode = part.stat().st_ino
        (tmp_path / ".a.rec.lock").unlink(missing_ok=True)
        assert rec("make", many, tmp_path / "a.rec", "--jobs", 2, "--resize", 96) == 0
        assert (tmp_path / "a.rec").stat().st_ino == inode  # gone on with
        assert rec("make", many, tmp_path / "whole" / "a.rec", "--jobs", 1, "--resize", 96) == 0
        for name in ("a.rec", "a.idx", "a.json"):
            assert (tmp_path / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert left(tmp_path) == ["a.idx", "a.json", "a.rec", "whole"]

    def test_before_the_manifest(self, tree, tmp_path, monkeypatch):
        """The .rec has its name, and is taken back."""
        from openmix.commands import _packing

        def fail(path: Path, content: bytes) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(_packing, "write_whole", fail)
            assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 2
        assert (tmp_path / "a.rec").exists()
        assert rec("make", tree, tmp_path / "a.rec", "--jobs", 1) == 0
        assert verify(tmp_path / "a.rec").damages == []
        assert left(tmp_path) == ["a.idx", "a.json", "a.rec"]

    def test_two_at_once(self, tree, tmp_path, capsys):
        with open(tmp_path / ".a.rec.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert rec("make", tree, tmp_path / "a.rec") == 2
        assert "another openmix rec is writing" in capsys.readouterr().err


def is_locked(lock) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_UN)
        return False
    return True


def test_no_process_is_far_ahead(monkeypatch):
    """What waits for its turn is bounded, whatever one image takes."""
    from openmix.commands import _packing

    def slow_first(item: str) -> str:
        if item == "0":
            time.sleep(0.5)
        return item

    waiting: list[int] = []
    original = _packing.in_parallel

    @contextlib.contextmanager
    def counting(function, items, jobs):
        with original(function, items, jobs) as outcomes:

            def count():
                for outcome in outcomes:
                    waiting.append(int(outcome.item))
                    yield outcome

            yield count()

    monkeypatch.setattr(_packing, "in_parallel", counting)
    found = [outcome.item for outcome in _packing._in_order(slow_first, [str(i) for i in range(400)], 2)]
    assert found == [str(i) for i in range(400)]
    before = waiting.index(0)
    assert max(waiting[:before]) <= 33


def test_help(capsys):
    with pytest.raises(SystemExit) as end:
        rec("make", "--help")
    assert end.value.code == 0
    assert "FOLDER_OR_LIST" in capsys.readouterr().out
