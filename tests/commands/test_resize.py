"""resize: Pillow says what a copy should be; whatever happens on the way, what is there is whole."""

import contextlib
import errno
import fcntl
import io
import json
import multiprocessing
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.commands import _parallel, run_command
from openmix.commands._parallel import in_parallel, stopped_by_signals
from openmix.data import ImageFolder, resizing
from openmix.data.resizing import ImageResizer, scaled

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT.parent / "shared/data/photos"

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def picture(seed: int, width: int = 90, height: int = 70) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def tree(tmp_path) -> Path:
    """A data set of two splits, the one with an empty class."""
    for i in range(24):
        path = tmp_path / "set" / ("val" if i % 4 == 0 else "train") / f"n{i % 3}" / f"{i}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i, 60 + 7 * i, 110 - 2 * i).save(path, "JPEG")
    (tmp_path / "set" / "train" / "n9").mkdir()
    (tmp_path / "set" / "train" / "notes.txt").write_text("no image")
    return tmp_path / "set"


def resize(*arguments: object) -> int:
    return run_command("resize", [str(argument) for argument in arguments])


def content(folder: Path) -> dict[str, bytes]:
    """Everything below a folder but for what the command notes for itself."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "resize.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def by_pillow(path: Path, size: int, quality: int = 75, resample: Image.Resampling = Image.Resampling.BICUBIC) -> bytes:
    """R-Mix's resize.py on one image."""
    with Image.open(path) as image:
        ratio = min(image.width / size, image.height / size)
        small = image.convert("RGB").resize((int(image.width / ratio), int(image.height / ratio)), resample)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=quality)
    return file.getvalue()


class TestCopies:
    """What is written."""

    def test_they_are_pillows(self, tree, tmp_path, capsys):
        assert resize(tree, tmp_path / "out", "--size", 16, 40, "--jobs", 2) == 0
        names = [path.relative_to(tree) for path in tree.rglob("*.JPEG")]
        expected = {f"size{n}/{name}": by_pillow(tree / name, n) for n in (16, 40) for name in names}
        assert content(tmp_path / "out") == expected
        assert "48 copies written, 0 were there" in capsys.readouterr().out

    def test_options(self, tree, tmp_path):
        assert resize(tree, tmp_path / "out", "--size", 20, "--quality", 90, "--filter", "lanczos", "--jobs", 1) == 0
        name = "train/n1/1.JPEG"
        expected = by_pillow(tree / name, 20, 90, Image.Resampling.LANCZOS)
        assert (tmp_path / "out" / "size20" / name).read_bytes() == expected
        settings = json.loads((tmp_path / "out" / "size20" / "resize.json").read_text())
        assert settings == {"source": str(tree), "quality": 90, "filter": "lanczos"}

    def test_photographs(self, tmp_path):
        photos = sorted(PHOTOS.glob("*.JPEG"))[:6]
        if not photos:
            pytest.skip("there are no photographs at ../shared/data/photos")
        (tmp_path / "set" / "a").mkdir(parents=True)
        for path in photos:
            (tmp_path / "set" / "a" / path.name).symlink_to(path)
        assert resize(tmp_path / "set", tmp_path / "out", "--jobs", 2) == 0
        for path in photos:
            for size in (160, 352):
                with Image.open(tmp_path / "out" / f"size{size}" / "a" / path.name) as copy:
                    assert min(copy.size) == size
                    with Image.open(io.BytesIO(by_pillow(path, size))) as expected:
                        assert copy.size == expected.size
                        assert abs(np.asarray(copy).astype(int) - np.asarray(expected)).mean() < 1

    def test_the_shorter_side_is_exact(self):
        """R-Mix's floating-point numbers come to the same, or to a pixel less."""
        for size in (160, 352):
            for shorter in range(40, 900):
                for longer in (shorter, shorter + 1, 500, 999):
                    width, height = scaled(longer, shorter, size)
                    if longer >= shorter:
                        assert height == size and width == size * longer // shorter
                        assert 0 <= width - int(longer / (shorter / size)) <= 1
                        assert scaled(shorter, longer, size) == (height, width)

    def test_each_image_is_decoded_once(self, tree, tmp_path, monkeypatch):
        read, original = [], resizing.read_image
        monkeypatch.setattr(resizing, "read_image", lambda path: read.append(path) or original(path))
        for size in (10, 20):
            (tmp_path / "out" / f"size{size}" / "train" / "n1").mkdir(parents=True)
        resizer = ImageResizer(tree, tmp_path / "out", (10, 20))
        assert (resizer("train/n1/1.JPEG"), resizer("train/n1/1.JPEG")) == (2, 0)
        assert read == [str(tree / "train/n1/1.JPEG")]

    def test_other_formats_become_jpeg(self, tmp_path):
        (tmp_path / "set").mkdir()
        picture(1).save(tmp_path / "set" / "a.PNG")
        picture(2).quantize(8).save(tmp_path / "set" / "b.png")
        picture(3).convert("CMYK").save(tmp_path / "set" / "c.jpeg")
        picture(4).convert("L").save(tmp_path / "set" / "d.webp")
        assert resize(tmp_path / "set", tmp_path / "out", "--size", 12) == 0
        expected = {
            "size12/a.jpg": "a.PNG",
            "size12/b.jpg": "b.png",
            "size12/c.jpeg": "c.jpeg",
            "size12/d.jpg": "d.webp",
        }
        assert content(tmp_path / "out") == {
            copy: by_pillow(tmp_path / "set" / name, 12) for copy, name in expected.items()
        }

    @pytest.mark.filterwarnings("ignore:.*no image of 1 of 4 classes:UserWarning")
    def test_the_copies_are_a_data_set_with_the_same_labels(self, tree, tmp_path):
        (tree / "train" / "n9").rename(tree / "train" / "n0a")  # the empty class comes before others
        assert resize(tree, tmp_path / "out", "--size", 16) == 0
        source, copies = ImageFolder(str(tree), "train"), ImageFolder(str(tmp_path / "out" / "size16"), "train")
        assert copies.classes == source.classes == ("n0", "n0a", "n1", "n2")
        assert copies.labels.tolist() == source.labels.tolist()
        assert min(copies[3][0].shape[1:]) == 16


class TestAgain:
    """The same command a second time."""

    def test_only_what_is_missing_is_written(self, tree, tmp_path, capsys):
        out = tmp_path / "out"
        resize(tree, out, "--size", 16)
        whole = content(out)
        stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.JPEG")}
        (out / "size16/train/n1/1.JPEG").unlink()
        (out / "size16/train/n2/2.JPEG").write_bytes(b"")  # as a machine that went down may leave it
        (out / "size16/train/n2/.2.JPEG.tmp").write_bytes(b"half")
        capsys.readouterr()
        assert resize(tree, out, "--size", 16) == 0
        assert content(out) == whole
        assert "2 copies written, 22 were there" in capsys.readouterr().out
        new = [path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp]
        assert sorted(new) == ["1.JPEG", "2.JPEG"]

    def test_the_number_of_processes_does_not_matter(self, tree, tmp_path):
        for jobs in (1, 3):
            assert resize(tree, tmp_path / f"out{jobs}", "--size", 16, "--jobs", jobs) == 0
        assert content(tmp_path / "out1") == content(tmp_path / "out3")

    def test_other_settings_are_not_mixed_in(self, tree, tmp_path, capsys):
        resize(tree, tmp_path / "out", "--size", 16)
        before = content(tmp_path / "out")
        assert resize(tree, tmp_path / "out", "--size", 16, 20, "--quality", 80) == 2
        assert "size16 was begun with quality 75; give the same, or another DST" in capsys.readouterr().err
        assert content(tmp_path / "out") == before and not (tmp_path / "out" / "size20").exists()
        assert resize(tree, tmp_path / "out", "--size", 20, "--quality", 80) == 0, "another set may differ"


class TestFailures:
    """An image that cannot be read does not keep the others from being done."""

    def test_they_are_named_and_the_others_done(self, tree, tmp_path, capsys):
        cut, empty = tree / "train/n2/5.JPEG", tree / "val/n1/4.JPEG"
        good = cut.read_bytes()
        cut.write_bytes(good[: len(good) // 2])
        empty.write_bytes(b"")
        assert resize(tree, tmp_path / "out", "--size", 16, 20, "--jobs", 2) == 1
        out, err = capsys.readouterr()
        assert "22 of 24 images are in" in out and "2 images failed, see" in err
        lines = (tmp_path / "out" / "failures.txt").read_text().splitlines()
        assert [line.split("\t")[0] for line in lines] == ["train/n2/5.JPEG", "val/n1/4.JPEG"]
        assert all("is damaged, or no image" in line and line in err for line in lines)
        done = {name for name in content(tmp_path / "out") if name.endswith(".JPEG")}
        assert len(done) == 44 and not {f"size{n}/train/n2/5.JPEG" for n in (16, 20)} & done

        cut.write_bytes(good)
        picture(4).save(empty, "JPEG")
        assert resize(tree, tmp_path / "out", "--size", 16, 20) == 0
        assert not (tmp_path / "out" / "failures.txt").exists() and len(content(tmp_path / "out")) == 48

    def test_a_full_disk_ends_it(self, tree, tmp_path, monkeypatch, capsys):
        def full(path, content, durable):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

        monkeypatch.setattr(resizing, "write_whole", full)
        assert resize(tree, tmp_path / "out", "--size", 16, "--jobs", 2) == 1
        assert "error: cannot write a copy of " in (err := capsys.readouterr().err) and "No space left" in err

    def test_a_process_that_dies_ends_it(self, tree, tmp_path, monkeypatch, capsys):
        original = ImageResizer.__call__

        def call(self, name):
            if name == "train/n1/7.JPEG":
                os.kill(os.getpid(), signal.SIGKILL)
            return original(self, name)

        monkeypatch.setattr(ImageResizer, "__call__", call)
        assert resize(tree, tmp_path / "out", "--size", 16, "--jobs", 2) == 1
        assert "error: a process died (exit code -9)" in capsys.readouterr().err

    def test_a_half_written_copy_is_taken_away(self, tree, tmp_path, monkeypatch):
        (tmp_path / "out" / "size16" / "train" / "n1").mkdir(parents=True)

        def interrupted(*paths):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ImageResizer(tree, tmp_path / "out", (16,))("train/n1/1.JPEG")
        assert not content(tmp_path / "out")


class TestStopping:
    """Signals in the middle of the work."""

    @pytest.fixture
    def stopped(self, tree, tmp_path, monkeypatch) -> Callable[[int], tuple[int, list[str]]]:
        """Start the command, send it a signal when some copies are there, and return its exit code and what it left."""
        original = ImageResizer.__call__
        monkeypatch.setattr(ImageResizer, "__call__", lambda self, name: time.sleep(0.05) or original(self, name))
        out = tmp_path / "out"

        def run() -> None:
            os.setpgid(0, 0)
            sys.exit(resize(tree, out, "--size", 16, 20, "--jobs", 2))

        def stopped(number: int, group: bool = False) -> tuple[int, list[str]]:
            process = multiprocessing.get_context("fork").Process(target=run)
            process.start()
            assert process.pid is not None
            while len(list(out.rglob("*.JPEG"))) < 6:
                assert process.is_alive()
                time.sleep(0.005)
            (os.killpg if group else os.kill)(process.pid, number)
            process.join(20)
            with open(out / ".lock", "a") as lock:
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:  # the lock is free when all that it started is gone, too
                    with contextlib.suppress(BlockingIOError):
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        return process.exitcode, sorted(content(out))
                    time.sleep(0.01)
            pytest.fail("a process was left behind")

        return stopped

    @pytest.mark.parametrize(
        ("number", "group", "code"),
        [
            (signal.SIGINT, True, 130),  # a terminal's Ctrl-C goes to all
            (signal.SIGTERM, False, 75),
            (signal.SIGUSR1, True, 75),  # a scheduler's
            (signal.SIGKILL, False, -signal.SIGKILL),
        ],
    )
    def test_it_leaves_whole_copies_and_goes_on_from_there(
        self, stopped, tree, tmp_path, monkeypatch, number, group, code
    ):
        exit_code, left = stopped(number, group)
        assert exit_code == code
        assert 6 <= len(left) < 48 and not [name for name in left if not name.endswith(".JPEG")]
        monkeypatch.undo()
        resize(tree, tmp_path / "reference", "--size", 16, 20)
        whole = content(tmp_path / "reference")
        assert {name: whole[name] for name in left} == content(tmp_path / "out")
        assert resize(tree, tmp_path / "out", "--size", 16, 20) == 0
        assert content(tmp_path / "out") == whole


FORK = multiprocessing.get_context("fork")


class Stuck:
    """Never ends with one of the items, and says when it has begun with it."""

    def __init__(self) -> None:
        self.begun = FORK.Event()

    def __call__(self, item: str) -> str:
        if item == "stuck":
            self.begun.set()
            time.sleep(60)
        return item


class TestLeaving:
    """A process that does not come to an end does not keep the command from ending."""

    def test_it_is_killed_after_a_while(self, monkeypatch):
        monkeypatch.setattr(_parallel, "GRACE", 0.3)
        stuck = Stuck()
        with pytest.raises(ZeroDivisionError), in_parallel(stuck, ["a", "stuck", "b", "c"], 2):
            assert stuck.begun.wait(10)
            before = time.monotonic()
            raise ZeroDivisionError
        assert 0.25 < time.monotonic() - before < 10
        assert not multiprocessing.active_children()

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_second_signal_ends_it_at_once(self, number):
        stuck = Stuck()

        def run() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with stopped_by_signals(), in_parallel(stuck, ["a", "stuck"], 2):
                assert stuck.begun.wait(10)
                os.kill(os.getpid(), number)
                time.sleep(60)

        process = FORK.Process(target=run)
        process.start()
        assert process.pid is not None and stuck.begun.wait(10)
        process.join(0.5)
        assert process.is_alive(), "it gives the item at hand some time"
        os.kill(process.pid, number)
        process.join(5)
        assert process.exitcode == 1


class TestOddTrees:
    """Links in circles, pipes with an image's name, folders that are locked."""

    def test_they_are_passed_over(self, tree, tmp_path, capsys):
        (tree / "train" / "n1" / "self").symlink_to("self")
        (tree / "train" / "n1" / "up").symlink_to("..")
        os.mkfifo(tree / "train" / "n1" / "x.jpg")
        assert resize(tree, tmp_path / "out", "--size", 16, "--jobs", 2) == 0
        assert "24 of 24 images" in capsys.readouterr().out
        assert len(content(tmp_path / "out")) == 24 and not (tmp_path / "out/size16/train/n1/up").exists()

    def test_a_locked_folder_is_named(self, tree, tmp_path, capsys, monkeypatch):
        scan = os.scandir

        def refusing(folder):
            if str(folder).endswith("train/n9"):
                raise PermissionError(errno.EACCES, "Permission denied", str(folder))
            return scan(folder)

        monkeypatch.setattr(os, "scandir", refusing)
        assert resize(tree, tmp_path / "out", "--size", 16) == 2
        assert f"error: the folder {tree}/train/n9 cannot be read: Permission denied" in capsys.readouterr().err


class TestWrongInput:
    """One message, exit code 2, nothing written."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["{tree}", "{out}", "--size", "0"], "--size takes different numbers of pixels, at least 1, got 0"),
            (["{tree}", "{out}", "--size", "9", "9"], "--size takes different numbers of pixels, at least 1, got 9 9"),
            (["{tree}", "{out}", "--size", "x"], "argument --size: invalid int value: 'x'"),
            (["{tree}", "{out}", "--jobs", "0"], "--jobs must be at least 1, got 0"),
            (["{tree}", "{out}", "--quality", "101"], "--quality must be in 1..100, got 101"),
            (["{tree}", "{out}", "--filter", "cubic"], "invalid choice: 'cubic'"),
            (["{tmp}/nowhere", "{out}"], "SRC is no folder: {tmp}/nowhere"),
            (["{tree}/train/n9", "{out}"], "no image below {tree}/train/n9"),
            (["{tree}", "{tree}/train/notes.txt"], "DST is no folder: {tree}/train/notes.txt"),
            (["{tree}", "{tree}/small"], "DST is in SRC, and would be resized as well: {tree}/small"),
            (["{tree}", "{tree}"], "DST is in SRC, and would be resized as well: {tree}"),
            (["{tree}", "{tree}/train/notes.txt/x"], "DST is in SRC"),
            (["{tmp}/size16/a", "{tmp}", "--size", "16"], "SRC is where the copies go: {tmp}/size16/a"),
            (["{tree}", "/dev/null/out"], "cannot write to /dev/null/out: "),
            (["{tree}"], "the following arguments are required: DST"),
        ],
    )
    def test_it_is_refused(self, tree, tmp_path, capsys, arguments, message):
        (tmp_path / "size16" / "a").mkdir(parents=True)
        before = sorted(tmp_path.rglob("*"))
        places = {"tree": tree, "out": tmp_path / "out", "tmp": tmp_path}
        try:
            code = resize(*(argument.format(**places) for argument in arguments))
        except SystemExit as end:  # argparse's way
            code = end.code
        assert code == 2 and message.format(**places) in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before

    def test_two_images_with_one_copy(self, tree, tmp_path, capsys):
        picture(0).save(tree / "train" / "n1" / "1.png")
        picture(0).save(tree / "train" / "n1" / "1.bmp")
        assert resize(tree, tmp_path / "out") == 2
        assert "train/n1/1.bmp and train/n1/1.png would both become train/n1/1.jpg" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_two_commands_at_once(self, tree, tmp_path, capsys):
        (tmp_path / "out").mkdir()
        with open(tmp_path / "out" / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert resize(tree, tmp_path / "out") == 2
        assert f"another openmix resize is writing to {tmp_path / 'out'}" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_the_script_is_the_command(tree, tmp_path, monkeypatch):
    script = ROOT / "tools" / "resize_dataset.py"
    monkeypatch.setattr("sys.argv", [str(script), str(tree), str(tmp_path / "out"), "--size", "16"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert end.value.code == 0 and len(content(tmp_path / "out")) == 24
