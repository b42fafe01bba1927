"""ckpt as a user meets it: a table, a line a checkpoint, a file of weights; whatever lies there, no traceback."""

import json
import os
import random
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from openmix.commands._ckpt_content import epoch_of
from openmix.engine.config import load_config
from openmix.engine.files import sha256
from openmix.registry import MODELS


@pytest.fixture
def run(run):
    """Run the command, or another; return the exit code, stdout and stderr. A traceback fails the test."""
    return lambda *arguments, command="ckpt": run(command, *arguments)


@pytest.fixture(scope="module")
def runs(lab, tmp_path_factory) -> Path:
    """A config, its run, and one that was stopped after step 4, with averaged weights; no test changes them."""
    folder = tmp_path_factory.mktemp("runs")
    path = lab.write(folder, custom_hooks=[{"type": "EMAHook", "momentum": 0.1}])
    lab.train(path, folder / "run")
    lab.train(path, folder / "cut", stop_after=4)
    return folder


@pytest.fixture
def folder(runs, tmp_path) -> Path:
    """The run's checkpoints, to be damaged: all four are files of their own."""
    shutil.copytree(runs / "run" / "checkpoints", tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


def rows(out: str) -> dict[str, dict[str, str]]:
    header, *lines = (line.split("\t") for line in out.splitlines())
    return {line[0]: dict(zip(header[1:], line[1:], strict=True)) for line in lines}


def saved_with(folder: Path, tmp_path: Path, **changes) -> Path:
    """Return a lone checkpoint, without a manifest, with other values than the run's newest."""
    state = torch.load(folder / "epoch_2.pth", weights_only=True)
    torch.save(state | changes, tmp_path / "changed.pth")
    return tmp_path / "changed.pth"


def flip(path: Path, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 0x10
    path.write_bytes(content)


class TestList:
    def test_what_a_run_has(self, run, lab, runs):
        code, out, err = run("ls", runs / "run")
        assert (code, err) == (0, "")
        assert list(rows(out)) == [
            "epoch_2.pth",
            "last.pth",
            *[n for n in rows(out) if n in ("epoch_1.pth", "best.pth")],
        ]
        top1 = {r["step"]: f"{r['top1']:.2f}" for r in lab.records(runs / "run") if r["split"] == "val"}
        for name, step, epoch in (("epoch_2.pth", 12, "2"), ("last.pth", 12, "2"), ("epoch_1.pth", 6, "1")):
            row = rows(out)[name]
            assert (row["step"], row["epoch"], row["top-1 (%)"], row["state"]) == (str(step), epoch, top1[step], "ok")
            assert row["size"] == f"{(runs / 'run' / 'checkpoints' / name).stat().st_size / 1000:.1f} kB"

    def test_the_folder_and_a_file_stand_for_themselves(self, run, runs):
        whole = run("ls", runs / "run")[1]
        assert run("ls", runs / "run" / "checkpoints")[1] == whole
        assert rows(run("ls", runs / "run" / "checkpoints" / "last.pth")[1]) == {"last.pth": rows(whole)["last.pth"]}

    def test_an_epoch_cut_in_two_and_no_validation(self, run, runs):
        row = rows(run("ls", runs / "cut")[1])["iter_4.pth"]
        assert (row["step"], row["epoch"], row["top-1 (%)"], row["state"]) == ("4", "1 (4/6)", "-", "ok")

    def test_epochs_of_several_lengths(self):
        timeline = [[0, 10], [2, 5]]  # epochs end after steps 10, 20, 25, 30
        spelled = {step: epoch_of({"step": step, "timeline": timeline}) for step in (0, 1, 10, 20, 21, 25, 30)}
        assert spelled == {0: "0", 1: "1 (1/10)", 10: "1", 20: "2", 21: "3 (1/5)", 25: "3", 30: "4"}

    def test_hard_links_are_hashed_once(self, run, runs, monkeypatch):
        hashed = []
        monkeypatch.setattr("openmix.engine.checkpoint.sha256", lambda path: hashed.append(path) or sha256(path))
        assert {row["state"] for row in rows(run("ls", runs / "run")[1]).values()} == {"ok"}
        inodes = {p.stat().st_ino for p in (runs / "run" / "checkpoints").glob("*.pth")}
        assert len(inodes) == 2
        assert {p.stat().st_ino for p in hashed} == inodes and len(hashed) == len(inodes)

    @pytest.mark.parametrize("kind", ["cut", "flipped", "emptied", "folder", "link", "pipe", "text", "foreign"])
    def test_damage_is_a_row(self, run, folder, kind):
        path = folder / "epoch_2.pth"
        content = path.read_bytes()
        path.unlink()
        if kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to("nowhere")
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "foreign":
            torch.save({"state_dict": {}}, path)
            (folder / "manifest.json").unlink()
        else:
            path.write_bytes({"cut": content[:-100], "flipped": content, "emptied": b"", "text": b"hello"}[kind])
            if kind == "flipped":
                flip(path)
        code, out, err = run("ls", folder)
        assert (code, err) == (0, "")
        said = {
            "cut": f"damaged: it has {len(content) - 100:,} bytes, by manifest.json {len(content)}",
            "flipped": "damaged: its size or SHA-256 differs",
            "emptied": "damaged: it is empty",
            "folder": "damaged: a folder stands in its place",
            "link": "damaged: it cannot be read: No such file or directory",
            "pipe": "damaged: it is no regular file",
            "text": "damaged: it has 5 bytes, by",
            "foreign": "was not written by openmix's training",
        }[kind]
        assert rows(out)["epoch_2.pth"]["state"].startswith(said)
        others = {row["state"] for name, row in rows(out).items() if name != "epoch_2.pth"}
        assert others == {"not in the manifest" if kind == "foreign" else "ok"}
        assert next(iter(rows(out))) == ("last.pth" if kind == "foreign" else "epoch_2.pth"), "by the manifest's step"

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"last.pth": 3}', '{"last.pth": {"step": 1}}', "\udcff"])
    def test_without_a_manifest(self, run, folder, text):
        (folder / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        code, out, _ = run("ls", folder)
        assert code == 0 and {row["state"] for row in rows(out).values()} == {"not in the manifest"}

    def test_on_a_terminal(self, run, folder, tmp_path, monkeypatch):
        (folder / "[red]\x1b[2J.pth").write_bytes(b"")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "100")
        code, out, err = run("ls", folder)
        assert (code, err) == (0, "")
        assert r"[red]\x1b[2J.pth" in out and "damaged: it is empty" in out
        assert "\x1b[2J" not in out, "a file's name clears no screen"


class TestVerify:
    def test_good_ones(self, run, runs):
        code, out, err = run("verify", runs / "run", runs / "cut" / "checkpoints" / "iter_4.pth")
        assert (code, err) == (0, "")
        lines = out.splitlines()
        folder = runs / "run" / "checkpoints"
        assert lines[0] == f"{folder}/epoch_2.pth: ok, step 12, epoch 2; as in manifest.json"
        assert lines[4] == f"{folder}: --resume would continue from epoch_2.pth"
        assert lines[5] == f"{runs}/cut/checkpoints/iter_4.pth: ok, step 4, epoch 1 (4/6); as in manifest.json"
        assert len(lines) == 6

    def test_says_what_a_resumed_run_does(self, run, lab, runs, tmp_path):
        shutil.copytree(runs / "run", tmp_path / "run")
        for name in ("epoch_2.pth", "last.pth"):
            flip(tmp_path / "run" / "checkpoints" / name)
        code, out, err = run("verify", tmp_path / "run")
        assert code == 2 and err == "error: 2 of 4 checkpoints cannot be relied on\n"
        assert out.splitlines()[-1] == f"{tmp_path}/run/checkpoints: --resume would continue from epoch_1.pth"
        lab.train(str(runs / "tiny.py"), tmp_path / "run", resume=True)
        assert "resuming after step 6" in (tmp_path / "run" / "train.log").read_text()

    def test_nothing_left(self, run, folder):
        for path in folder.glob("*.pth"):
            path.write_bytes(b"")
        code, out, err = run("verify", folder)
        assert code == 2 and err == "error: 4 of 4 checkpoints cannot be relied on\n"
        assert out.splitlines()[-1] == f"{folder}: nothing that --resume could continue from"

    def test_the_others_are_checked_though_one_is_missing(self, run, runs, tmp_path):
        code, out, err = run("verify", tmp_path / "none", runs / "cut", tmp_path)
        assert code == 2 and "iter_4.pth: ok" in out
        assert f"no work dir, folder of checkpoints or checkpoint {tmp_path}/none" in err
        assert f"no checkpoint (.pth) in {tmp_path}" in err

    @pytest.mark.parametrize("part", ["model", "ema"])
    def test_weights_that_are_not_finite(self, run, folder, tmp_path, part):
        weights = torch.load(folder / "epoch_2.pth", weights_only=True)[part]
        name = next(key for key in weights if key.endswith("head.fc.weight"))
        weights[name].view(-1)[3] = float("nan")
        path = saved_with(folder, tmp_path, **{part: weights})
        code, out, _ = run("verify", path)
        assert (code, out) == (2, f"{path}: damaged: its weights 'head.fc.weight' are not all finite\n")
        code, _, err = run("export", path, tmp_path / "o.safetensors")
        assert code == 2 and "are not all finite" in err and not (tmp_path / "o.safetensors").exists()

    def test_weights_that_would_fill_the_memory(self, run, folder, tmp_path):
        model = {"backbone.weight": torch.zeros(1).expand(1 << 40)}  # a few bytes in the file, 4 TiB to compute with
        path = saved_with(folder, tmp_path, model=model)
        assert run("verify", path)[1] == f"{path}: damaged: its weights are larger than the file can hold\n"
        assert run("export", path, tmp_path / "o.safetensors")[0] == 2


WRONG = {
    "step": ["x", None, -1, 1.5, True, 1 << 80, torch.ones(2), [1], {}],
    "timeline": ["x", None, 6, [], [[0]], [[0, 0]], [[1, 6]], [[0, "a"]], [[0, 6], [0, 6]], {0: 6}, torch.ones(1, 2)],
    "seed": ["x", None, 0.5, [0], "\x1b[2J\n"],
    "metrics": [None, "x", [1], {"top1": "x"}, {"top1": torch.ones(3)}, {"top1": 10**400}],
    "best": [None, "x", torch.ones(1)],
    "model": [None, "x", {}, {"a": 1}, {1: torch.ones(1)}, [torch.ones(1)]],
    "ema": ["x", 1, {}, {"a": 1}, {"a": torch.ones(1)}],
    "optimizer": [None, 1],
    "hooks": [None, 1],
}


@pytest.mark.parametrize("name", WRONG)
def test_values_of_wrong_types(run, folder, tmp_path, name):
    for value in WRONG[name]:
        path = saved_with(folder, tmp_path, **{name: value})
        code, out, err = run("verify", path)
        assert code == 2 and out.startswith(f"{path}: damaged: it"), value
        assert out.isprintable() or out[:-1].isprintable(), "one line, nothing that moves the cursor"
        assert err == "error: 1 of 1 checkpoints cannot be relied on\n"
        assert run("ls", path)[0] == 0
        code, _, err = run("export", path, tmp_path / "o.safetensors")
        assert code == 2 and err.startswith(f"error: checkpoint {path} is damaged: it") and err.count("\n") == 1
        assert not (tmp_path / "o.safetensors").exists()


def test_code_is_not_run(run, tmp_path):
    witness = tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {witness}",)

    path = tmp_path / "hostile.pth"
    torch.save({"format": "openmix", "step": Hostile()}, path)
    assert run("ls", path)[0] == 0
    assert run("verify", path)[0] == 2
    assert run("export", path, tmp_path / "o.safetensors")[0] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hostile.pth"]


@pytest.mark.parametrize("count", [40, pytest.param(800, marks=pytest.mark.slow)])
def test_mutated_files(run, folder, tmp_path, count):
    """Where bytes change, a checkpoint is good or a line says that it is not; nothing else happens."""
    rng = random.Random(0)
    whole = (folder / "epoch_2.pth").read_bytes()
    begin = whole.index(b"data.pkl")  # what is not tensors lies in one place
    codes = []
    for _ in range(count):
        content = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3, 20])):
            content[rng.randrange(begin, begin + 6000) if rng.random() < 0.8 else rng.randrange(len(content))] = (
                rng.randrange(256)
            )
        path = tmp_path / "mutated.pth"
        path.write_bytes(content)
        code, out, _ = run("verify", path)
        assert (code, ": ok, " in out) in ((0, True), (2, False)) and out.count("\n") == 1
        assert run("ls", path)[0] == 0
        exported = run("export", path, tmp_path / "o.safetensors", "--force")[0]
        assert exported in (0, 2)
        assert exported == 0 or code == 2, "what verifies can be exported"
        codes.append(code)
    assert sum(codes) > 0, "some of it was damage"


@pytest.mark.parametrize("version", ["x\x1b[2J", torch.ones(2), [], None, 10**400])
def test_another_version(run, folder, tmp_path, version):
    path = saved_with(folder, tmp_path, version=version)
    code, out, _ = run("verify", path)
    assert code == 2 and out.startswith(f"{path}: ") and out[:-1].isprintable()
    assert run("ls", path)[0] == 0
    assert run("export", path, tmp_path / "o.safetensors")[0] == 2


@pytest.mark.parametrize("step", ["x", [1], {}, None, float("nan"), -1, 1 << 80])
def test_a_manifest_with_other_steps(run, folder, step):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["epoch_2.pth"]["step"] = step
    (folder / "manifest.json").write_text(json.dumps(manifest))
    code, out, err = run("verify", folder)
    assert (code, err) == (0, "") and out.count(": ok, ") == 4
    assert rows(run("ls", folder)[1])["epoch_2.pth"]["step"] == "12"


def test_a_manifest_of_brackets(run, folder):
    (folder / "manifest.json").write_text("[" * 200_000)
    assert run("ls", folder)[0] == 0
    assert run("verify", folder)[0] in (0, 2)


class TestExport:
    @pytest.mark.parametrize("averaged", [True, False])
    def test_the_same_figures(self, run, lab, runs, tmp_path, averaged):
        config, checkpoint = str(runs / "tiny.py"), runs / "run" / "checkpoints" / "epoch_1.pth"
        if not averaged:
            config = lab.write(tmp_path)
            lab.train(config, tmp_path / "run", train_cfg__max_epochs=1)
            checkpoint = tmp_path / "run" / "checkpoints" / "last.pth"
        out = tmp_path / "o.safetensors"
        code, said, err = run("export", checkpoint, out)
        assert (code, err) == (0, "") and said.endswith(f"wrote {out}\n")
        assert said.startswith(f"{'averaged weights (EMA)' if averaged else 'weights'} after step 6: ")
        theirs, ours = (run(config, file, command="test") for file in (checkpoint, out))
        assert ours == theirs and ours[0] == 0

    def test_which_weights(self, run, runs, tmp_path):
        checkpoint = runs / "run" / "checkpoints" / "last.pth"
        state = torch.load(checkpoint, weights_only=True)
        averaged = {key[len("module.") :]: value for key, value in state["ema"].items() if key != "n_averaged"}
        assert not torch.equal(averaged["head.fc.weight"], state["model"]["head.fc.weight"])
        for which, expected in (("final", averaged), ("ema", averaged), ("model", state["model"])):
            out = tmp_path / f"{which}.safetensors"
            assert run("export", checkpoint, out, "--weights", which)[0] == 0
            written = load_file(out)
            assert written.keys() == expected.keys()
            assert all(torch.equal(written[key], value) and written[key].dtype == value.dtype
                       for key, value in expected.items())  # fmt: skip

    def test_a_momentum_encoder_is_a_network_of_its_own(self, run, lab, runs, tmp_path):
        """A plain classifier of its weights says what the run's validation said of it."""
        network = {"backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1}}
        network["head"] = {"type": "ClsMixupHead", "num_classes": 10}
        config = lab.write(tmp_path, "learned", model={"type": "AutoMixClassification", **network})
        plain = lab.write(tmp_path, "plain", model={"type": "Classification", **network})
        lab.train(config, tmp_path / "run")
        out = tmp_path / "o.safetensors"
        code, said, _ = run("export", tmp_path / "run" / "checkpoints" / "last.pth", out, "--weights", "teacher")
        assert code == 0 and said.startswith("the momentum encoder's weights after step 12: ")
        assert all(key.startswith(("backbone.", "head.", "head_one.")) for key in load_file(out))
        code, said, err = run(plain, out, command="test")
        assert (code, err) == (0, "")
        assert f"top-1 {lab.records(tmp_path / 'run')[-1]['top1_k']:.2f}" in said.replace("top1", "top-1")
        other = runs / "run" / "checkpoints" / "last.pth"
        code, said, err = run("export", other, tmp_path / "no.safetensors", "--weights", "teacher")
        assert (code, said) == (2, "") and "has no momentum encoder" in err

    def test_metadata(self, run, runs, tmp_path):
        checkpoint, out = runs / "run" / "checkpoints" / "epoch_2.pth", tmp_path / "new" / "o.safetensors"
        assert run("export", checkpoint, out)[0] == 0
        with safe_open(out, "pt") as file:
            assert file.metadata() == {
                "format": "pt",
                "openmix_version": "0.1.0",
                "source": "epoch_2.pth",
                "source_sha256": sha256(checkpoint),
                "step": "12",
                "seed": "0",
                "weights": "ema",
                "part": "all",
            }
        (tmp_path / "plain").touch()
        assert out.stat().st_mode == (tmp_path / "plain").stat().st_mode, "whoever may read files may read it"

    def test_the_backbone_alone(self, run, runs, tmp_path):
        out = tmp_path / "o.safetensors"
        assert run("export", runs / "run" / "checkpoints" / "last.pth", out, "--backbone")[0] == 0
        backbone = MODELS.build(load_config(str(runs / "tiny.py")).model.backbone)
        backbone.load_state_dict(load_file(out))  # strictly: no name too many, none too few
        state = torch.load(runs / "run" / "checkpoints" / "last.pth", weights_only=True)["ema"]
        for key, value in backbone.state_dict().items():
            assert torch.equal(value, state[f"module.backbone.{key}"])
        with safe_open(out, "pt") as file:
            assert file.metadata()["part"] == "backbone"

    def test_shared_and_strided_tensors(self, run, folder, tmp_path):
        base = torch.arange(12.0).view(3, 4)
        model = {"backbone.a": base, "backbone.tied": base, "backbone.t": base.T, "backbone.part": base[1:, ::2]}
        path, out = saved_with(folder, tmp_path, model=model, ema=None), tmp_path / "o.safetensors"
        assert run("export", path, out, "--backbone")[0] == 0
        written = load_file(out)
        assert len(written) == 4 and torch.equal(written["t"], base.T) and torch.equal(written["part"], base[1:, ::2])
        assert torch.equal(written["tied"], base) and torch.equal(written["a"], base)

    def test_no_averaged_weights(self, run, folder, tmp_path):
        path = saved_with(folder, tmp_path, ema=None)
        code, _, err = run("export", path, tmp_path / "o.safetensors", "--weights", "ema")
        assert code == 2
        assert err == (
            f"error: {path} has no averaged weights, as its run had no EMAHook; --weights model exports its own\n"
        )

    def test_no_backbone(self, run, folder, tmp_path):
        path = saved_with(folder, tmp_path, model={"encoder.weight": torch.ones(1)}, ema=None)
        code, _, err = run("export", path, tmp_path / "o.safetensors", "--backbone")
        assert (code, err) == (2, f"error: {path} holds no backbone: leave out --backbone\n")

    def test_nothing_is_overwritten_unless_forced(self, run, runs, tmp_path):
        checkpoint, out = runs / "run" / "checkpoints" / "last.pth", tmp_path / "o.safetensors"
        out.write_text("mine")
        code, _, err = run("export", checkpoint, out)
        assert (code, err) == (2, f"error: {out} is there already; --force replaces it\n")
        assert out.read_text() == "mine"
        assert run("export", checkpoint, out, "--force")[0] == 0
        assert load_file(out)

    @pytest.mark.parametrize("step", ["write", "sync", "rename"])
    def test_a_full_disk_leaves_what_was_there(self, run, runs, tmp_path, monkeypatch, step):
        def fail(*arguments):
            raise OSError(28, "No space left on device")

        out = tmp_path / "o.safetensors"
        out.write_text("mine")
        monkeypatch.setattr(
            *{"write": (Path, "write_bytes"), "sync": (os, "fsync"), "rename": (os, "replace")}[step], fail
        )
        code, _, err = run("export", runs / "run" / "checkpoints" / "last.pth", out, "--force")
        assert (code, err) == (2, f"error: cannot write {out}: No space left on device\n")
        assert out.read_text() == "mine" and [p.name for p in tmp_path.iterdir()] == ["o.safetensors"]

    @pytest.mark.parametrize("name", ["__metadata__", "\ud800"])
    def test_names_that_the_format_lacks(self, run, folder, tmp_path, name):
        path = saved_with(folder, tmp_path, model={"a": torch.ones(1), name: torch.ones(1)}, ema=None)
        code, _, err = run("export", path, tmp_path / "o.safetensors")
        assert code == 2 and not list(tmp_path.glob("*o.safetensors*"))
        assert err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "none"], "no work dir, folder of checkpoints or checkpoint none"),
        (["ls", "."], "no checkpoint (.pth) in ."),
        (["verify", "."], "no checkpoint (.pth) in ."),
        (["verify"], "the following arguments are required: PATH"),
        (["export", "none.pth", "o.safetensors"], "no checkpoint none.pth"),
        (
            ["export", "foreign.pt", "o.safetensors"],
            "foreign.pt was not written by openmix's training; see 'openmix conv",
        ),
        (["export", "foreign.pt", "o.pth"], "weights are exported as .safetensors, not as o.pth"),
        (["export", "foreign.pt", "d.safetensors", "--force"], "d.safetensors is there already\n"),
        (["export", "foreign.pt", "o.safetensors", "--weights", "best"], "invalid choice: 'best'"),
        ([], "the following arguments are required: ACTION"),
    ],
)
def test_wrong_input(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.safetensors").mkdir()
    torch.save({"state_dict": {"a": torch.ones(1)}}, tmp_path / "foreign.pt")
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and message in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.safetensors", "foreign.pt"]
