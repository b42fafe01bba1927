"""data verify and data cache: spoilt and odd images are found, and a cache is whole or is not there."""

import fcntl
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.commands import _data_cache, run_command
from openmix.data import verifying
from openmix.data.caching import ImageCacher
from openmix.data.recordio import ImageHeader, pack_image, write_records
from openmix.data.sources import CachedImages, ImageFolder

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT.parent / "shared/data/photos"

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def picture(seed: int, width: int = 90, height: int = 70) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def data(*arguments: object) -> int:
    return run_command("data", [str(argument) for argument in arguments])


@pytest.fixture
def tree(tmp_path) -> Path:
    """12 training and 6 validation images in three classes."""
    for i in range(18):
        path = tmp_path / "set" / ("val" if i % 3 == 2 else "train") / f"n{i // 6}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i, 60 + 7 * i, 110 - 2 * i).save(path)
    return tmp_path / "set"


def spoil(path: Path) -> None:
    """Take bytes out of a JPEG's image data: libjpeg fills what is missing, and has a warning and no error."""
    content = bytearray(path.read_bytes())
    start = content.rindex(b"\xff\xda") + 14
    del content[start + 40 : start + 140]
    path.write_bytes(content)


class TestVerify:
    """Reading all images."""

    def test_good(self, tree, tmp_path, capsys):
        assert data("verify", tree, "--jobs", 2, "--out", tmp_path / "found.tsv") == 0
        out = capsys.readouterr().out
        assert f"{tree}: 18 of 18 images can be read" in out and "damaged" not in out and "odd" not in out
        assert (tmp_path / "found.tsv").read_text() == "image\tkind\twhat\n"

    def test_damaged_images_are_named_with_the_reason(self, tree, tmp_path, capsys):
        cut, page = tree / "train/n0/0.jpg", tree / "val/n2/17.jpg"
        cut.write_bytes(cut.read_bytes()[:-200])
        page.write_bytes(b"<html>404</html>")
        (tree / "train/n1/6.jpg").unlink()
        (tree / "train/n1/6.jpg").symlink_to("nowhere.jpg")
        assert data("verify", tree, "--jobs", 2, "--out", tmp_path / "found.tsv") == 1
        out = capsys.readouterr().out
        assert f"{tree}: 15 of 18 images can be read" in out
        rows = [line.split("\t") for line in (tmp_path / "found.tsv").read_text().splitlines()[1:]]
        assert [row[:2] for row in rows] == [[str(p), "damaged"] for p in (cut, tree / "train/n1/6.jpg", page)]
        assert "is damaged, or no image: " in rows[0][2] and "No such file" in rows[1][2]
        assert all(f"damaged: {row[0]} {row[2]}" in out for row in rows)

    def test_what_libjpeg_warns_of_is_damage(self, tree, capfd):
        pytest.importorskip("simplejpeg")
        spoil(tree / "train/n0/3.jpg")
        assert ImageFolder(str(tree), "train")[2][0].shape == (3, 104, 81), "training reads it all the same"
        capfd.readouterr()
        assert data("verify", tree / "train", "--jobs", 1) == 1
        out, err = capfd.readouterr()
        assert f"damaged: {tree}/train/n0/3.jpg (" in out and "libjpeg warns: Corrupt JPEG data" in out
        assert err == "", "libjpeg's own words, without a name, are not seen"

    def test_out_is_tried_before_anything_is_read(self, tree, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr("openmix.commands._data_verify._open", lambda path: pytest.fail("it was opened"))
        for out, reason in (
            (tmp_path / ("x" * 255), "cannot be written: File name too long"),
            (tmp_path / "no/found.tsv", "must name a file in a folder that is there"),
            ("/dev/null", "must name a file"),  # which would be replaced by a file
        ):
            assert data("verify", tree, "--out", out) == 2
            assert reason in capsys.readouterr().err

    def test_what_is_neither_folder_nor_config(self, tree, tmp_path, capsys):
        for name, reason in (
            ("a.rec", "is a RecordIO file, and a folder or a config is wanted: 'openmix rec verify"),
            ("a.jpg", f"is an image, and a folder or a config is wanted, such as {tmp_path}"),
            ("a.txt", "is neither a folder nor a config file"),
        ):
            (tmp_path / name).write_bytes(b"\xff\xd8\xff")
            for command in (["verify"], ["cache", tmp_path / "out"]):
                assert data(command[0], tmp_path / name, *command[1:]) == 2
                assert f"{tmp_path / name} {reason}" in capsys.readouterr().err

    def test_without_simplejpeg_it_is_said_what_is_not_seen(self, tree, capsys, monkeypatch):
        monkeypatch.setattr(verifying, "strict_jpeg", lambda: None)
        spoil(tree / "train/n0/3.jpg")
        assert data("verify", tree, "--jobs", 1) == 0
        assert "simplejpeg is not installed: JPEGs that are spoilt inside" in capsys.readouterr().out

    def test_photographs(self, capsys):
        if not PHOTOS.is_dir():
            pytest.skip("there are no photographs at ../shared/data/photos")
        assert data("verify", PHOTOS) == 0
        count = len(list(PHOTOS.glob("*.JPEG")))
        assert f"{count} of {count} images can be read" in capsys.readouterr().out

    def test_odd_images_are_summed_up(self, tmp_path, capsys):
        folder = tmp_path / "set"
        folder.mkdir()
        turned = Image.Exif()
        turned[0x0112] = 6
        picture(0).save(folder / "good.jpg")
        picture(1).convert("CMYK").save(folder / "cmyk.jpg")
        picture(2).convert("L").save(folder / "grey.jpg")
        picture(3).save(folder / "turned.jpg", exif=turned)
        picture(4, 20, 90).save(folder / "thin.jpg")
        picture(5).save(folder / "wrong.jpg", "PNG")
        picture(6).save(folder / "clip.webp", save_all=True, append_images=[picture(7)])
        picture(8).quantize(9).save(folder / "holes.png", transparency=1)
        Image.fromarray(np.arange(2500, dtype=np.uint16).reshape(50, 50) * 20).save(folder / "deep.png")
        Image.new("L", (7200, 7200)).save(folder / "large.jpg")
        assert data("verify", folder, "--out", tmp_path / "found.tsv") == 0
        rows = [line.split("\t") for line in (tmp_path / "found.tsv").read_text().splitlines()[1:]]
        assert sorted((Path(name).name, kind, what) for name, kind, what in rows) == [
            ("clip.webp", "odd", "several frames"),
            ("cmyk.jpg", "odd", "CMYK"),
            ("deep.png", "odd", "16-bit"),
            ("deep.png", "odd", "grey"),
            ("grey.jpg", "odd", "grey"),
            ("holes.png", "odd", "alpha"),
            ("large.jpg", "odd", "grey"),
            ("large.jpg", "odd", "over 50 megapixels"),
            ("thin.jpg", "odd", "under 32 pixels"),
            ("turned.jpg", "odd", "EXIF orientation"),
            ("wrong.jpg", "odd", "PNG named .jpg"),
        ]
        assert f"odd: grey: 3, such as {folder}/deep.png" in capsys.readouterr().out

    def test_a_configs_sets(self, lab, tree, tmp_path, capsys):
        path = config(lab, tmp_path, tree)
        (tree / "val/n2/17.jpg").write_bytes(b"")
        assert data("verify", path, "--jobs", 1) == 1
        out = capsys.readouterr().out
        assert f"{path} train: 12 of 12 images can be read" in out and f"{path} val: 5 of 6 images can be read" in out

    def test_records(self, lab, tree, tmp_path, capsys):
        """Processes read one file together, and each set is looked through once."""
        packed = [path.read_bytes() for path in sorted((tree / "train").rglob("*.jpg"))]
        packed[4] = packed[4][:300]
        records = [(i, pack_image(ImageHeader(i, float(i % 3)), image)) for i, image in enumerate(packed)]
        write_records(str(tmp_path / "a.rec"), records)
        dataset = {"type": "RecordIO", "path": str(tmp_path / "a.rec"), "num_classes": 3}
        pipeline = [{"type": "Resize", "size": [16, 16]}]
        loader = {"type": "TorchLoader", "batch_size": 4, "dataset": dataset, "pipeline": pipeline}
        model = {"backbone": {"in_channels": 3}, "head": {"num_classes": 3}}
        path = lab.write(tmp_path, model=model, train_dataloader=loader, val_dataloader=loader)
        assert data("verify", path, "--jobs", 2) == 1
        out = capsys.readouterr().out
        assert f"{path} train: 11 of 12 images can be read" in out and out.count("damaged: ") == 1
        assert "(300 bytes) is damaged, or no image" in out and "odd" not in out
        assert data("cache", path, tmp_path / "out", "--jobs", 2) == 1
        assert f"{tmp_path}/out/train is not ended: 1 images cannot be read" in capsys.readouterr().err

    def test_sets_in_memory_are_passed_over(self, lab, tmp_path, capsys):
        assert data("verify", lab.write(tmp_path)) == 0
        assert "train: Synthetic holds no encoded images: nothing to look for" in capsys.readouterr().out

    def test_a_caches_sum(self, tree, tmp_path, capsys):
        data("cache", tree / "train", tmp_path / "out", "--size", 8)
        assert data("verify", tmp_path / "out") == 0
        assert "the SHA-256 of 12 images is right" in capsys.readouterr().out
        content = bytearray((tmp_path / "out/images.bin").read_bytes())
        content[99] ^= 1
        (tmp_path / "out/images.bin").write_bytes(content)
        assert data("verify", tmp_path / "out") == 1
        assert f"damaged: {tmp_path}/out/images.bin its SHA-256 is not the header's" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nowhere"], "no folder or config file nowhere"),
            (["{empty}"], "no image below {empty}"),
            (["{tree}", "--jobs", "0"], "--jobs must be at least 1, got 0"),
            (["{tree}", "--out", "{empty}"], "--out must name a file in a folder that is there, got {empty}"),
            (["{tree}", "--out", "{empty}/a/b"], "--out must name a file in a folder that is there, got {empty}/a/b"),
            ([], "the following arguments are required: PATH"),
        ],
    )
    def test_wrong_input(self, tree, tmp_path, capsys, arguments, message):
        (tmp_path / "empty").mkdir()
        places = {"tree": tree, "empty": tmp_path / "empty"}
        try:
            code = data("verify", *(argument.format(**places) for argument in arguments))
        except SystemExit as end:  # argparse's way
            code = end.code
        assert code == 2 and message.format(**places) in capsys.readouterr().err


def config(lab, folder: Path, tree: Path) -> str:
    """A config that trains on the tree's folders."""
    sets = {s: {"type": "ImageFolder", "data_root": str(tree), "split": s, "num_classes": 3} for s in ("train", "val")}
    pipeline = [{"type": "Resize", "size": [16, 16]}]
    loaders = {s: {"type": "TorchLoader", "batch_size": 4, "dataset": sets[s], "pipeline": pipeline} for s in sets}
    model = {"backbone": {"in_channels": 3}, "head": {"num_classes": 3}}
    return lab.write(folder, model=model, train_dataloader=loaders["train"], val_dataloader=loaders["val"])


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


class TestCache:
    """Writing a set."""

    def test_a_folders_splits(self, tree, tmp_path, capsys):
        assert data("cache", tree, tmp_path / "out", "--size", 24, "--jobs", 2) == 0
        assert f"{tmp_path}/out/train: 12 images of 24 x 24, 20,736 bytes" in capsys.readouterr().out
        for split in ("train", "val"):
            folder, cached = ImageFolder(str(tree), split), CachedImages(str(tmp_path / "out" / split))
            assert cached.labels.tolist() == folder.labels.tolist() and cached.classes == folder.classes
            assert {p.name for p in (tmp_path / "out" / split).iterdir()} == {
                ".lock", "header.json", "images.bin", "labels.bin"
            }  # fmt: skip

    def test_a_configs_sets(self, lab, tree, tmp_path):
        assert data("cache", config(lab, tmp_path, tree), tmp_path / "out", "--size", 8, "--mode", "square") == 0
        assert len(CachedImages(str(tmp_path / "out/train"))) == 12
        assert CachedImages(str(tmp_path / "out/val")).header["settings"]["mode"] == "square"

    def test_a_run_trains_on_it(self, lab, tree, tmp_path):
        data("cache", tree, tmp_path / "out", "--size", 8)
        sets = {
            s: {"type": "CachedImages", "path": str(tmp_path / "out" / s), "num_classes": 3} for s in ("train", "val")
        }
        loaders = {s: {"type": "ResidentLoader", "batch_size": 4, "dataset": sets[s]} for s in sets}
        model = {"backbone": {"in_channels": 3}, "head": {"num_classes": 3}}
        train = {**loaders["train"], "pipeline": [{"type": "RandomCrop", "size": 8, "padding": 1}]}
        path = lab.write(tmp_path, model=model, train_dataloader=train, val_dataloader=loaders["val"])
        assert run_command("check", [path, "--dry-run"]) == 0
        assert lab.train(path, tmp_path / "run")["top1"] >= 0

    def test_the_number_of_processes_does_not_matter(self, tree, tmp_path):
        for jobs in (1, 3):
            assert data("cache", tree / "train", tmp_path / str(jobs), "--size", 16, "--jobs", jobs) == 0
        assert content(tmp_path / "1") == content(tmp_path / "3")

    def test_again_it_is_there(self, tree, tmp_path, capsys):
        data("cache", tree / "train", tmp_path / "out", "--size", 16)
        stamp = (tmp_path / "out/images.bin").stat().st_mtime_ns
        assert data("cache", tree / "train", tmp_path / "out", "--size", 16) == 0
        assert "12 images of 16 x 16 are there" in capsys.readouterr().out
        assert (tmp_path / "out/images.bin").stat().st_mtime_ns == stamp

    def test_another_set_is_not_mixed_in(self, tree, tmp_path, capsys):
        data("cache", tree / "train", tmp_path / "out", "--size", 16)
        before = content(tmp_path / "out")
        assert data("cache", tree / "train", tmp_path / "out", "--size", 20) == 2
        assert "holds another set (size 16); give the same, or another OUT" in capsys.readouterr().err
        picture(0).save(tree / "train/n1/new.jpg")
        assert data("cache", tree / "train", tmp_path / "out", "--size", 16) == 2
        assert "holds another set (images 12, digest " in capsys.readouterr().err
        assert content(tmp_path / "out") == before

    def test_damaged_images_leave_it_unended_and_it_goes_on(self, tree, tmp_path, capsys, monkeypatch):
        data("cache", tree / "train", tmp_path / "reference", "--size", 16)
        path = tree / "train/n0/3.jpg"
        good = path.read_bytes()
        path.write_bytes(good[:500])
        assert data("cache", tree / "train", tmp_path / "out", "--size", 16, "--jobs", 2) == 1
        err = capsys.readouterr().err
        assert (
            f"{tmp_path}/out is not ended: 1 images cannot be read" in err and f"{path} (500 bytes) is damaged" in err
        )
        assert not (tmp_path / "out/header.json").exists()
        path.write_bytes(good)
        written, original = tmp_path / "written", ImageCacher.__call__

        def call(self, item):
            written.write_text(item)
            assert item == "2", "the others are there"
            original(self, item)

        monkeypatch.setattr(ImageCacher, "__call__", call)
        assert data("cache", tree / "train", tmp_path / "out", "--size", 16, "--jobs", 2) == 0
        assert written.read_text() == "2" and content(tmp_path / "out") == content(tmp_path / "reference")

    @pytest.mark.parametrize("missing", ["header", "part", "done"])
    def test_whatever_a_kill_leaves_is_gone_on_from(self, tree, tmp_path, monkeypatch, missing):
        out = tmp_path / "out"
        data("cache", tree / "train", tmp_path / "reference", "--size", 16)
        monkeypatch.setattr(_data_cache, "_finish", lambda *_: None)
        data("cache", tree / "train", out, "--size", 16)
        monkeypatch.undo()
        assert {"begun.json", "done.part", "images.bin.part"} <= set(content(out))
        if missing == "header":  # between the renaming and the header
            (out / "images.bin.part").rename(out / "images.bin")
        else:
            (out / {"part": "images.bin.part", "done": "done.part"}[missing]).unlink()
        assert data("cache", tree / "train", out, "--size", 16) == 0
        assert content(out) == content(tmp_path / "reference")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
    def test_signals(self, tree, tmp_path, number, code):
        out = tmp_path / "out"
        program = (
            "import sys, time; from openmix.commands import run_command; from openmix.data.caching import ImageCacher\n"
            "call = ImageCacher.__call__\n"
            "ImageCacher.__call__ = lambda self, item: time.sleep(0.15) or call(self, item)\n"
            "sys.exit(run_command('data', sys.argv[1:]))"
        )
        command = [sys.executable, "-c", program, "cache", str(tree / "train"), str(out), "--size", "16", "--jobs", "2"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
            while not (out / "images.bin.part").exists() or not any((out / "images.bin.part").read_bytes()):
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.01)
            process.send_signal(number)
            process.wait(20)
        assert process.returncode == code and not (out / "header.json").exists()
        with open(out / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # free when all that it started is gone
        assert data("cache", tree / "train", out, "--size", 16) == 0
        data("cache", tree / "train", tmp_path / "reference", "--size", 16)
        assert content(out) == content(tmp_path / "reference")

    def test_threads_of_the_parent_are_not_waited_for(self, tree, tmp_path):
        """Images so large that torch would copy them by several threads, which a forked process does not have."""
        program = (
            "import sys, torch; from openmix.commands import run_command; torch.set_num_threads(2)\n"
            "torch.rand(1 << 22).exp_(); sys.exit(run_command('data', sys.argv[1:]))"
        )
        command = [sys.executable, "-c", program, "cache", str(tree / "train"), str(tmp_path / "out"), "--size", "224"]
        environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
        done = subprocess.run([*command, "--jobs", "2"], cwd=ROOT, env=environment, timeout=60)
        assert done.returncode == 0 and len(CachedImages(str(tmp_path / "out"))) == 12

    def test_a_full_disk_ends_it(self, tree, tmp_path, monkeypatch, capsys):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "pwrite", full)
        assert data("cache", tree / "train", tmp_path / "out", "--jobs", 1) == 1
        assert "error: cannot write " in (err := capsys.readouterr().err) and "No space left on device" in err

    def test_too_little_space_is_said_before_anything_is_written(self, tree, tmp_path, monkeypatch, capsys):
        usage = namedtuple("usage", "total used free")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 60_000_000))
        assert data("cache", tree / "train", tmp_path / "out") == 2
        expected = "needs 67,256,320 bytes, and 60,000,000 are free; free some, or give a smaller --size"
        assert expected in capsys.readouterr().err and not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["{tree}", "{out}", "--size", "0"], "--size must be at least 1, got 0"),
            (["{tree}", "{out}", "--jobs", "0"], "--jobs must be at least 1, got 0"),
            (["{tree}", "{out}", "--mode", "longer"], "invalid choice: 'longer'"),
            (["nowhere", "{out}"], "no config file or folder nowhere"),
            (["{tree}", "{tree}/small"], "OUT is in the folder that is read: {tree}/small"),
            (["{tree}/train/n0", "{out}"], "{tree}/train/n0 holds no folder"),
            (["{tree}/train", "/dev/null/out"], "cannot write to /dev/null/out: "),
            (["{memory}", "{out}"], "names sets that are in memory already (train: Synthetic, val: Synthetic)"),
            (["{tree}"], "the following arguments are required: OUT"),
        ],
    )
    def test_wrong_input(self, lab, tree, tmp_path, capsys, arguments, message):
        places = {"tree": tree, "out": tmp_path / "out", "memory": lab.write(tmp_path)}
        before = sorted(tmp_path.rglob("*"))
        try:
            code = data("cache", *(argument.format(**places) for argument in arguments))
        except SystemExit as end:
            code = end.code
        assert code == 2 and message.format(**places) in capsys.readouterr().err
        assert sorted(tmp_path.rglob("*")) == before

    def test_two_commands_at_once(self, tree, tmp_path, capsys):
        (tmp_path / "out").mkdir()
        with open(tmp_path / "out" / ".lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert data("cache", tree / "train", tmp_path / "out") == 2
        assert f"another openmix data cache is writing to {tmp_path / 'out'}" in capsys.readouterr().err


def test_the_header_says_all(tree, tmp_path):
    data("cache", tree / "val", tmp_path / "out", "--size", 16)
    header = json.loads((tmp_path / "out/header.json").read_text())
    assert header["classes"] == ["n0", "n1", "n2"] and header["image_shape"] == [3, 16, 16] and header["length"] == 6
    assert {k: v for k, v in header["settings"].items() if k != "digest"} == {
        "images": 6, "size": 16, "mode": "shorter", "filter": "bicubic"
    }  # fmt: skip


def test_inspecting_what_pillow_cannot_describe(monkeypatch):
    def unknown(_):
        raise OSError

    monkeypatch.setattr(verifying, "_describe", unknown)
    file = io.BytesIO()
    picture(0).save(file, "JPEG")
    found = verifying.inspect(np.frombuffer(bytearray(file.getvalue()), np.uint8), "x.jpg")
    assert found == verifying.Inspection(None, ("unknown to Pillow",))
