"""Files made to run code, everywhere a file can be named: each is refused by its name, and a canary proves the rest.

``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1``, which many export so that mmengine loads its own checkpoints, changes nothing.
"""

import contextlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from openmix.commands import run_command
from openmix.data.recordio import ImageHeader, pack_image, write_records
from openmix.engine.checkpoint_folder import CheckpointFolder

FORCED = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


class Evil:
    """Unpickled by Python, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def numpy_file(canary: Path, **arrays: np.ndarray) -> bytes:
    """Return an .npy of objects, or an .npz with one."""
    file, objects = io.BytesIO(), np.array([Evil(canary)], dtype=object)
    if arrays:
        np.savez(file, objects=objects, **arrays)
    else:
        np.save(file, objects)
    return file.getvalue()


def inside_a_zip(canary: Path) -> bytes:
    """Return torch's own container with another pickle in it."""
    source, file = zipfile.ZipFile(io.BytesIO(saved({"format": "openmix"}))), io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            evil = name.endswith("data.pkl")
            target.writestr(name, pickle.dumps({"model": Evil(canary)}, 2) if evil else source.read(name))
    return file.getvalue()


# by kind: the bytes of a file that makes the canary where it is unpickled
KINDS = {
    "whole": lambda canary: saved(Evil(canary)),
    "among weights": lambda canary: saved({"state_dict": {"w": torch.ones(2)}, "meta": Evil(canary)}),
    "plain pickle": lambda canary: pickle.dumps({"model": Evil(canary)}),
    "protocol 0": lambda canary: pickle.dumps(Evil(canary), 0),
    "old torch": lambda canary: old_format(canary),
    "zip": inside_a_zip,
    "npy": numpy_file,
    "npz": lambda canary: numpy_file(canary, weight=np.ones(2)),
}


def old_format(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.save({"model": Evil(canary)}, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


@pytest.fixture(params=["", "1"], ids=["", "forced"])
def place(request, tmp_path, monkeypatch, lab):
    """A folder with a good run, the canary's path, and perhaps the environment that asks for unsafe loading."""
    monkeypatch.chdir(tmp_path)
    if request.param:
        monkeypatch.setenv(FORCED, request.param)
    lab.write(tmp_path, train_cfg={"max_epochs": 1})
    return tmp_path


@pytest.fixture
def canary(place):
    canary = place / "canary"
    yield canary
    assert not canary.exists()


def refused(capsys, name: str, *argv: str) -> str:
    """Run a command; assert that it ends with 2 and one message that names the file. Return the message."""
    capsys.readouterr()
    assert run_command(argv[0], argv[1:]) == 2
    said = capsys.readouterr()
    said = said.err + (said.out if argv[0] == "check" else "")
    assert name in said and "Traceback" not in said, said
    return said


def test_the_files_would_run_code(tmp_path):
    """The canary is no decoration: opened in the unsafe way, each makes it."""
    for kind, make in KINDS.items():
        canary = tmp_path / "canary"
        path = tmp_path / "evil"
        path.write_bytes(make(canary))
        if kind in ("npy", "npz"):
            loaded = np.load(path, allow_pickle=True)
            _ = [loaded[name] for name in loaded] if kind == "npz" else loaded
        else:
            with contextlib.suppress(RuntimeError):  # torch may want more of the file, once it has unpickled that much
                torch.load(path, weights_only=False)
        canary.rmdir()  # fails where it is not there


@pytest.mark.parametrize("kind", KINDS)
class TestCheckpoints:
    def test_resume_load_from_test_and_convert(self, place, canary, capsys, kind):
        Path("evil.pth").write_bytes(KINDS[kind](canary))
        refused(capsys, "evil.pth", "train", "tiny.py", "--work-dir", "run", "--resume", "evil.pth")
        refused(capsys, "evil.pth", "train", "tiny.py", "--work-dir", "run", "--cfg-options", "load_from=evil.pth")
        refused(capsys, "evil.pth", "test", "tiny.py", "evil.pth")
        refused(capsys, "evil.pth", "convert", "evil.pth", "-o", "out.pth", "--config", "tiny.py")
        assert not Path("run/checkpoints").exists() and not Path("out.pth").exists()

    def test_resume_in_the_work_dir(self, place, canary, capsys, kind):
        """Without a manifest nothing tells that it is another's: it is read, as data."""
        for name in ("epoch_1.pth", "last.pth"):
            path = Path("run/checkpoints") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(KINDS[kind](canary))
        refused(capsys, "epoch_1.pth", "train", "tiny.py", "--work-dir", "run", "--resume")


def test_safetensors_hold_no_code(place, canary, capsys):
    Path("evil.safetensors").write_bytes(KINDS["plain pickle"](canary))
    refused(capsys, "evil.safetensors", "train", "tiny.py", "--cfg-options", "load_from=evil.safetensors")


def test_a_fall_back_passes_over_it(place, canary, lab, capsys):
    """The newest checkpoint is replaced, its manifest too: the one before is resumed from, with a warning."""
    assert run_command("train", ["tiny.py", "--work-dir", "run", "--cfg-options", "train_cfg.max_epochs=2"]) == 0
    folder = Path("run/checkpoints")
    for name in ("epoch_2.pth", "last.pth"):
        (folder / name).unlink()
        (folder / name).write_bytes(KINDS["whole"](canary))
    manifest = json.loads((folder / "manifest.json").read_text())
    kept = {name: entry for name, entry in manifest.items() if name == "epoch_1.pth"}
    (folder / "manifest.json").write_text(json.dumps(kept))
    assert run_command("train", ["tiny.py", "--work-dir", "run", "--resume"]) in (0, 2)
    assert lab.state(Path("run"), "epoch_1.pth")["step"] == 6


TEXTS = (
    "import os; os.mkdir({!r})",
    "custom_imports = dict(imports=['evil_module'])\n__import__('os').mkdir({!r})",
    "model = dict(type='os.mkdir', path={!r})",
    "$(mkdir {})",
    "!!python/object/apply:os.mkdir [{!r}]",
)


@pytest.mark.parametrize("text", TEXTS)
def test_text_in_a_checkpoint_is_data(place, canary, lab, capsys, monkeypatch, text):
    """mmengine executes ``meta['config']``: here it is a text that nobody reads, and the weights beside it are good."""
    monkeypatch.syspath_prepend(place)
    Path("evil_module.py").write_text(f"import os; os.mkdir({str(canary)!r})")
    planted = text.format(str(canary))
    assert run_command("train", ["tiny.py", "--work-dir", "run"]) == 0
    state = torch.load("run/checkpoints/last.pth", weights_only=True)
    names = {"config": planted, "cfg": planted, "meta": {"config": planted, "cfg": planted, "exp_name": planted}}
    content = {**state, **names, "hooks": dict(state["hooks"]), "message_hub": planted}
    folder = CheckpointFolder("planted/checkpoints")
    Path("planted").mkdir()
    folder.save("epoch_1.pth", {key: value for key, value in content.items() if key not in ("format", "version")})
    path = "planted/checkpoints/epoch_1.pth"
    assert run_command("test", ["tiny.py", path]) == 0
    assert run_command("train", ["tiny.py", "--work-dir", "other", "--cfg-options", f"load_from={path}"]) == 0
    capsys.readouterr()
    status = run_command("train", ["tiny.py", "--work-dir", "planted", "--resume"])
    said = capsys.readouterr()
    assert status in (0, 2) and "Traceback" not in said.err + said.out
    assert run_command("convert", [path, "-o", "out.pth", "--config", "tiny.py"]) == 0


def with_set(lab, place: Path, kind: str, **dataset: object) -> str:
    """Write a config whose training set is read from files."""
    loader = {"type": "TorchLoader", "batch_size": 2, "dataset": {"type": kind, **dataset}}
    pipeline = [{"type": "Resize", "size": [8, 8]}]
    backbone = {"type": "ConvNet", "widths": [4], "in_channels": 3}
    head = {"type": "ClsMixupHead", "num_classes": dataset.get("num_classes", 10)}
    return lab.write(
        place, "files", train_dataloader={**loader, "pipeline": pipeline}, val_dataloader=None,
        data_preprocessor={"mean": [0.5] * 3, "std": [0.5] * 3},
        model={"type": "MixUpClassification", "backbone": backbone, "head": head},
    )  # fmt: skip


class TestDataSets:
    @pytest.mark.parametrize("kind", ["plain pickle", "npy", "npz", "whole"])
    @pytest.mark.parametrize("name", ["header.json", "images.bin", "labels.bin"])
    def test_cached_images(self, place, canary, lab, capsys, kind, name):
        folder = place / "cache"
        assert run_command("data", ["cache", lab.write(place, "photos"), str(folder)]) in (0, 2)
        if not folder.exists():
            _cache(folder)
        (folder / name).write_bytes(KINDS[kind](canary))
        config = with_set(lab, place, "CachedImages", path=str(folder), num_classes=10, image_shape=[3, 8, 8])
        refused(capsys, name, "train", config, "--work-dir", "run")

    @pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "NaN", "\ufeff{}", "\x00"])
    def test_json_that_is_a_trap(self, place, canary, lab, capsys, text):
        _cache(place / "cache")
        (place / "cache/header.json").write_text(text)
        config = with_set(lab, place, "CachedImages", path="cache", num_classes=10, image_shape=[3, 8, 8])
        said = refused(capsys, "", "train", config, "--work-dir", "run")
        assert "header.json" in said or "CachedImages" in said
        write_records("a.rec", [(i, pack_image(ImageHeader(i, float(i)), b"")) for i in range(4)])
        Path("a.json").write_text(text)
        config = with_set(lab, place, "RecordIO", path="a.rec", num_classes=10)
        refused(capsys, "a.", "train", config, "--work-dir", "run")  # some are JSON of something else, and left alone
        Path("config.json").write_text(text)
        refused(capsys, "config.json", "train", "config.json", "--work-dir", "run")

    @pytest.mark.parametrize("protocol", [0, 2, 4])
    def test_cifar_batches(self, place, canary, lab, capsys, protocol):
        folder = place / "cifar-10-batches-py"
        folder.mkdir()
        names = {b"label_names": [b"class"] * 10}
        (folder / "batches.meta").write_bytes(pickle.dumps(names))
        evil = {b"data": Evil(canary), b"labels": [0]}
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            (folder / name).write_bytes(pickle.dumps(evil, protocol))
        config = with_set(lab, place, "CIFAR10", data_root=str(place), split="train")
        said = refused(capsys, "data_batch_1", "train", config, "--work-dir", "run")
        assert "mkdir" in said

    def test_recordio(self, place, canary, lab, capsys):
        evil = KINDS["plain pickle"](canary)
        config = with_set(lab, place, "RecordIO", path="a.rec", num_classes=10)
        write_records("a.rec", [(i, pack_image(ImageHeader(i, float(i)), evil)) for i in range(4)])
        refused(capsys, "a.rec, record ", "train", config, "--work-dir", "run")
        texts = np.frombuffer(evil[: len(evil) // 4 * 4], "<f4").tolist()
        for label in (float("nan"), 1e30, -1.0, tuple(texts)):
            for path in [*Path().glob("a.*")]:
                path.unlink()
            write_records("a.rec", [(0, pack_image(ImageHeader(0, label), evil))])
            refused(capsys, "a.rec", "train", config, "--work-dir", "run")
        write_records("a.rec", [(0, pack_image(ImageHeader(0, 0.0), evil))])
        for name in ("a.json", "a.idx"):
            Path(name).write_bytes(evil)
            refused(capsys, name, "train", config, "--work-dir", "run")
            Path(name).unlink()

    def test_images_that_are_pickles(self, place, canary, lab, capsys):
        for index in range(4):
            path = place / f"photos/{index % 2}/{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(KINDS["plain pickle"](canary))
        config = with_set(lab, place, "ImageFolder", data_root=str(place / "photos"), num_classes=2)
        refused(capsys, ".jpg", "train", config, "--work-dir", "run")


def _cache(folder: Path) -> None:
    """Write what ``openmix data cache`` would, of four images."""
    folder.mkdir()
    (folder / "images.bin").write_bytes(bytes(4 * 3 * 8 * 8))
    (folder / "labels.bin").write_bytes(bytes(4 * 8))
    sizes = {"images.bin": 4 * 3 * 8 * 8, "labels.bin": 4 * 8}
    files = {name: {"bytes": size, "sha256": "0" * 64} for name, size in sizes.items()}
    header = {
        "format": "openmix images 1", "length": 4, "image_shape": [3, 8, 8],
        "classes": [str(c) for c in range(10)], "files": files,
    }  # fmt: skip
    (folder / "header.json").write_text(json.dumps(header))


class TestConfigs:
    @pytest.mark.parametrize("name, text", [
        ("evil.yaml", "model: !!python/object/apply:os.mkdir ['CANARY']\n"),
        ("evil.yml", "model: !!python/object/new:os.mkdir {args: ['CANARY']}\n"),
        ("evil.yaml", "_base_: tiny.py\nmodel: {backbone: {type: os.mkdir, path: CANARY}}\n"),
        ("evil.json", '{"_base_": "tiny.py", "custom_hooks": [{"type": "os.mkdir", "path": "CANARY"}]}'),
        ("evil.json", '{"_base_": "tiny.py", "custom_imports": {"imports": ["evil_module"]}}'),
        ("evil.json", '{"_base_": "evil_module.py"}'),
    ])  # fmt: skip
    def test_yaml_and_json(self, place, canary, capsys, monkeypatch, name, text):
        monkeypatch.syspath_prepend(place)
        Path("evil_module.py").write_text(f"import os; os.mkdir({str(canary)!r})")
        Path(name).write_text(text.replace("CANARY", str(canary)))
        for argv in (["train", name], ["check", name], ["check", "--dry-run", name], ["test", name, "x.pth"],
                     ["convert", name, "-o", "out.py"]):  # fmt: skip
            refused(capsys, name, *argv)

    @pytest.mark.parametrize("dotted", [
        {"custom_hooks": [{"type": "os.mkdir", "path": "CANARY"}]},
        {"vis_backends": [{"type": "os.mkdir", "path": "CANARY"}]},
        {"optim_wrapper": {"optimizer": {"type": "os.mkdir", "path": "CANARY"}}},
        {"param_scheduler": [{"type": "subprocess.Popen", "args": ["mkdir", "CANARY"]}]},
        {"train_dataloader": {"pipeline": [{"type": "mmcv.os.mkdir", "path": "CANARY"}]}},
        {"train_dataloader": {"pipeline": [
            {"type": "MmcvTransform", "transform": {"type": "os.mkdir", "path": "CANARY"}}]}},
        {"train_dataloader": {"pipeline": [{"type": "mmcv.RandomResize", "scale": [8, 8], "resize_type": "evil.f"}]}},
        {"train_dataloader": {"dataset": {"type": "os.mkdir", "path": "CANARY"}}},
    ])  # fmt: skip
    def test_types_are_registered_names(self, place, canary, lab, capsys, monkeypatch, dotted):
        """mmengine imports what a type might be the path of, and calls it."""
        monkeypatch.syspath_prepend(place)
        Path("evil.py").write_text(f"import os; os.mkdir({str(canary)!r})\ndef f(**_): pass\n")
        path = Path(lab.write(place, "typed", **json.loads(json.dumps(dotted).replace("CANARY", str(canary)))))
        said = refused(capsys, "typed.py", "train", str(path), "--work-dir", "run")
        assert any(word in said for word in ("os.mkdir", "subprocess.Popen", "evil.f", "mmcv"))


@pytest.mark.slow
def test_processes(place, canary):
    """As a user starts it, with nothing imported or patched before."""
    Path("evil.pth").write_bytes(KINDS["whole"](canary))
    Path("evil.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{canary}']\n")
    if not shutil.which("openmix") and not (Path(sys.executable).parent / "openmix").exists():
        pytest.skip("openmix is not installed")
    program = str(Path(sys.executable).parent / "openmix")
    for argv in (
        ["train", "tiny.py", "--resume", "evil.pth"], ["test", "tiny.py", "evil.pth"], ["train", "evil.yaml"],
        ["train", "tiny.py", "--cfg-options", "model.backbone.type=os.system"],
    ):  # fmt: skip
        done = subprocess.run([program, *argv], capture_output=True, text=True, timeout=120)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
