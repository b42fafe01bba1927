"""train, test and check as a user meets them, mistakes included: one message, exit code 2, nothing overwritten."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from openmix.commands import main

Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def done(lab, tmp_path_factory) -> tuple[str, Path]:
    """A config and the work dir of its finished run, which no test changes."""
    folder = tmp_path_factory.mktemp("done")
    path = lab.write(folder)
    lab.train(path, folder / "run")
    return path, folder / "run"


def content(folder: Path) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def cifar(root: Path, cut: int = 0) -> Path:
    """Write a small CIFAR-10 in the official layout, one of its files cut short by so many bytes."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6))):
        data = {b"data": rng.integers(0, 256, (8, 3072), dtype=np.uint8), b"labels": list(range(8))}
        (folder / name).write_bytes(pickle.dumps(data, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"x"] * 10}, protocol=2))
    damaged = folder / "data_batch_3"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size - cut])
    return root


def cifar_config(lab: Any, folder: Path, root: Path) -> str:
    loaders = {}
    for key, split in (("train_dataloader", "train"), ("val_dataloader", "test")):
        dataset = {"type": "CIFAR10", "data_root": str(root), "split": split}
        loaders[key] = {"type": "ResidentLoader", "batch_size": 8, "dataset": dataset}
    return lab.write(folder, "cifar", model={"backbone": {"in_channels": 3}}, train_cfg={"max_epochs": 1}, **loaders)


class TestTraining:
    def test_trains_and_says_so(self, run, lab, tmp_path):
        code, out, err = run("train", lab.write(tmp_path), "--work-dir", tmp_path / "run")
        assert (code, err) == (0, "")
        assert "epoch 2/2, step 12/12" in out
        assert "over 30 images" in out
        assert lab.state(tmp_path / "run")["step"] == 12

    def test_options(self, run, lab, tmp_path):
        options = [
            "--cfg-options",
            "train_cfg.max_epochs=1",
            "model.mix_mode=[mixup,vanilla]",
            "model.mix_prob=[.25,.75]",
        ]
        code, _, _ = run("train", lab.write(tmp_path), "--work-dir", tmp_path / "run", "--seed", 7, *options)
        assert code == 0
        assert lab.state(tmp_path / "run")["step"] == 6
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert record["seed"] == 7
        text = (tmp_path / "run" / "config.py").read_text()
        assert "'mix_mode': ['mixup', 'vanilla']" in text
        assert "'mix_prob': [0.25, 0.75]" in text

    def test_max_iters_instead_of_epochs(self, run, lab, tmp_path):
        path = lab.write(tmp_path)
        code, _, err = run("train", path, "--work-dir", tmp_path / "run", "--cfg-options", "train_cfg.max_iters=20")
        assert code == 2
        assert "one of max_epochs and max_iters must be a number, the other None" in err
        length = ["--cfg-options", "train_cfg.max_iters=3", "train_cfg.max_epochs=None"]
        assert run("train", path, "--work-dir", tmp_path / "run", *length)[0] == 0
        assert lab.state(tmp_path / "run")["step"] == 3

    def test_bf16_on_a_cpu(self, run, lab, tmp_path):
        path = lab.write(tmp_path, train_cfg={"max_epochs": 1})
        assert run("train", path, "--work-dir", tmp_path / "low", "--amp", "bf16")[0] == 0
        assert run("train", path, "--work-dir", tmp_path / "full")[0] == 0
        low, full = (lab.state(tmp_path / d)["model"]["head.fc.weight"] for d in ("low", "full"))
        assert low.dtype == torch.float32
        assert not torch.equal(low, full)

    def test_resume_continues_or_starts_afresh(self, run, lab, done, tmp_path):
        path, whole = done
        assert run("train", path, "--work-dir", tmp_path / "run", "--resume")[0] == 0
        lab.assert_same_run(whole, tmp_path / "run")
        lab.train(path, tmp_path / "cut", stop_after=4)
        assert run("train", path, "--work-dir", tmp_path / "cut", "--resume")[0] == 0
        lab.assert_same_run(whole, tmp_path / "cut")
        lab.train(path, tmp_path / "named", stop_after=4)
        named = tmp_path / "named" / "checkpoints" / "iter_4.pth"
        assert run("train", path, "--work-dir", tmp_path / "named", "--resume", named)[0] == 0
        lab.assert_same_run(whole, tmp_path / "named")

    def test_a_fresh_run_keeps_the_earlier_one(self, run, lab, tmp_path):
        path = lab.write(tmp_path, train_cfg={"max_epochs": 1})
        assert run("train", path, "--work-dir", tmp_path / "run")[0] == 0
        before = {p.relative_to(tmp_path / "run"): data for p, data in content(tmp_path / "run").items()}
        assert run("train", path, "--work-dir", tmp_path / "run", "--seed", 1)[0] == 0
        aside = tmp_path / "run" / "earlier" / "1"
        assert {p.relative_to(aside): data for p, data in content(aside).items()} == before

    def test_finished_run_resumed_does_nothing(self, run, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run")
        before = content(tmp_path / "run" / "checkpoints"), (tmp_path / "run" / "metrics.jsonl").read_bytes()
        assert run("train", path, "--work-dir", tmp_path / "run", "--resume")[0] == 0
        assert (content(tmp_path / "run" / "checkpoints"), (tmp_path / "run" / "metrics.jsonl").read_bytes()) == before

    def test_diverged_run_exits_with_1_and_one_message(self, run, lab, tmp_path):
        path = lab.write(tmp_path, optim_wrapper={"optimizer": {"lr": 1e30}})
        code, _, err = run("train", path, "--work-dir", tmp_path / "run")
        assert code == 1
        assert err.startswith("error: the ")
        assert "not finite" in err or "the loss is nan" in err
        assert len(err.splitlines()) == 1


class TestTesting:
    def test_prints_and_writes_what_the_last_validation_was(self, run, lab, done, tmp_path):
        path, work_dir = done
        out = tmp_path / "new" / "figures.json"
        code, said, err = run("test", path, work_dir / "checkpoints" / "last.pth", "--out", out)
        assert (code, err) == (0, "")
        figures = json.loads(out.read_text())
        assert list(figures) == ["top1", "top5", "nll", "ece", "n"]
        assert figures == lab.state(work_dir)["metrics"]
        assert said == (
            f"top1 {figures['top1']:.2f} %, top5 {figures['top5']:.2f} %, nll {figures['nll']:.4f}, "
            f"ece {figures['ece']:.4f} over 30 images\n"
        )

    def test_works_on_best_and_numbered_checkpoints_and_changes_nothing(self, run, done):
        path, work_dir = done
        before = content(work_dir)
        for name in ("best.pth", "epoch_1.pth"):
            assert run("test", path, work_dir / "checkpoints" / name)[0] == 0
        assert content(work_dir) == before

    def test_file_that_cannot_be_written(self, run, done, tmp_path):
        path, work_dir = done
        (tmp_path / "file").write_text("")
        code, out, err = run("test", path, work_dir / "checkpoints" / "last.pth", "--out", tmp_path / "file" / "x.json")
        assert code == 2
        assert "top1" in out, "the figures are not lost"
        assert err.startswith(f"error: cannot write {tmp_path / 'file' / 'x.json'}: ")


def assert_refused(said: Said, *parts: str) -> None:
    """One clear message on stderr, exit code 2, no traceback."""
    code, _, err = said
    assert code == 2, err
    assert "Traceback" not in err
    assert err.startswith("error: ")
    for part in parts:
        assert part in err


class TestMistakes:
    """Each is refused before anything is written: neither a new work dir appears nor an old one changes."""

    @pytest.fixture(autouse=True)
    def nothing_changes(self, done, tmp_path):
        _, work_dir = done
        before = content(work_dir)
        yield
        assert content(work_dir) == before
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize("where", ["file", "option"])
    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            (
                "train_cfg.max_epoch",
                2,
                "train_cfg.max_epoch: TrainCfg takes no 'max_epoch'; did you mean",
            ),
            ("train_cgf.max_epochs", 2, "train_cgf: nothing reads this key; did you mean 'train_cfg'?"),
            ("model.backbone.type", "ConvNett", "unknown model type 'ConvNett'; did you mean 'ConvNet'?"),
            ("model.mix_mode", "cutmx", "unknown mixing method 'cutmx'; did you mean 'cutmix'?"),
            ("model.mix_prob", [0.5, 0.6], "mix_prob must be >= 0 and sum to 1, got [0.5, 0.6], which sums to 1.1"),
        ],
    )
    def test_misspelt(self, run, lab, done, tmp_path, key, value, message, where):
        if where == "file":
            changes: Any = value
            for part in reversed(key.split(".")):
                changes = {part: changes}
            if "type" in changes.get("model", {}).get("backbone", {}):
                changes["model"]["backbone"].update(widths=[4], in_channels=1)
            arguments = [lab.write(tmp_path, **changes)]
        else:
            spelt = "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else value
            arguments = [done[0], "--cfg-options", f"{key}={spelt}"]
        for work_dir in (tmp_path / "new", done[1]):
            said = run("train", *arguments, "--work-dir", work_dir)
            assert_refused(said, message, "--cfg-options" if where == "option" else "tiny.py")
            assert len(said[2].splitlines()) == 1

    def test_missing_config(self, run, done, tmp_path):
        assert_refused(run("train", "nowhere.py", "--work-dir", tmp_path / "new"), "no config file nowhere.py")
        assert_refused(run("test", "nowhere.py", done[1] / "checkpoints" / "last.pth"), "no config file nowhere.py")

    def test_syntax_error(self, run, tmp_path):
        (tmp_path / "broken.py").write_text("model = dict(\n")
        said = run("train", tmp_path / "broken.py", "--work-dir", tmp_path / "new")
        assert_refused(said, "broken.py, line 1: this is not Python: '(' was never closed")

    def test_missing_data(self, run, lab, tmp_path):
        path = cifar_config(lab, tmp_path, tmp_path / "nowhere")
        said = run("train", path, "--work-dir", tmp_path / "new")
        assert_refused(said, "CIFAR10 was not found", "Set download=True in the dataset config, or run: python -c")

    def test_truncated_data(self, run, lab, tmp_path):
        path = cifar_config(lab, tmp_path, cifar(tmp_path / "data", cut=500))
        assert_refused(run("train", path, "--work-dir", tmp_path / "new"), "data_batch_3", "bytes)")

    def test_too_few_data_for_a_step(self, run, done, tmp_path):
        said = run("train", done[0], "--work-dir", tmp_path / "new", "--cfg-options", "train_dataloader.batch_size=100")
        assert_refused(said, "the training set has 52 images, fewer than one step takes", "lower batch_size")

    def test_work_dir_that_cannot_be_written(self, run, done, tmp_path):
        (tmp_path / "file").write_text("kept")
        for work_dir in (tmp_path / "file" / "run", tmp_path / "file"):
            said = run("train", done[0], "--work-dir", work_dir)
            assert_refused(said, f"cannot write to work dir {work_dir}: ", "name another with --work-dir")
        assert (tmp_path / "file").read_text() == "kept"

    @pytest.mark.parametrize("command", ["train", "test"])
    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("missing", "no checkpoint "),
            ("folder", "is a folder, not a checkpoint"),
            ("truncated", "is damaged"),
            ("empty", "is damaged"),
            ("text", "is damaged, or not a file of tensors"),
            ("foreign", "was not written by openmix"),
            ("pickle", "is damaged, or not a file of tensors"),
            ("other network", "the checkpoint holds another network than the config's"),
        ],
    )
    def test_checkpoints(self, run, lab, done, tmp_path, command, kind, message):
        path, work_dir = done
        last, wrong = work_dir / "checkpoints" / "last.pth", tmp_path / "wrong.pth"
        if kind == "folder":
            wrong.mkdir()
        elif kind == "truncated":
            wrong.write_bytes(last.read_bytes()[:-2000])
        elif kind == "empty":
            wrong.write_bytes(b"")
        elif kind == "text":
            wrong.write_text("not a checkpoint")
        elif kind == "foreign":
            torch.save({"state_dict": {"w": torch.zeros(2)}, "epoch": 3}, wrong)
        elif kind == "pickle":
            wrong.write_bytes(pickle.dumps({"format": "openmix", "path": Path("x")}))
        elif kind == "other network":
            state = torch.load(last, weights_only=True)
            torch.save({**state, "model": {"backbone.w": torch.zeros(2)}}, wrong)
        if (command, kind) == ("test", "foreign"):  # whose weights may be of use
            message = "the checkpoint holds another network than the config's"
        for target in (tmp_path / "new", work_dir):
            if command == "train":
                said = run("train", path, "--work-dir", target, "--resume", wrong)
            else:
                said = run("test", path, wrong, "--out", tmp_path / "new" / "out.json")
            assert_refused(said, message)

    def test_every_checkpoint_damaged(self, run, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run", stop_after=8)
        for checkpoint in (tmp_path / "run" / "checkpoints").glob("*.pth"):
            checkpoint.unlink()
            checkpoint.write_bytes(b"damaged")
        before = content(tmp_path / "run")
        said = run("train", path, "--work-dir", tmp_path / "run", "--resume")
        assert_refused(said, "no checkpoint is left to resume from", "iter_8.pth", "epoch_1.pth", "last.pth")
        assert content(tmp_path / "run") == before

    def test_fp16_on_a_cpu(self, run, done, tmp_path):
        said = run("train", done[0], "--work-dir", tmp_path / "new", "--amp", "fp16")
        assert_refused(said, "fp16 needs a GPU; on a CPU use --amp bf16")

    def test_launcher_without_its_environment(self, run, done, tmp_path, monkeypatch):
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.delenv(name, raising=False)
        said = run("train", done[0], "--work-dir", tmp_path / "new", "--launcher", "pytorch")
        assert_refused(said, "--launcher pytorch needs RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT in the")

    @pytest.mark.parametrize(
        "options",
        [["--seed", "one"], ["--amp", "fp8"], ["--nonsense"], ["--cfg-options", "a"], ["--cfg-options", "a=[1"], []],
    )
    def test_options_that_argparse_refuses(self, run, done, options):
        code, _, err = run("train", *([done[0], *options] if options else []))
        assert code == 2
        assert "Traceback" not in err


class TestCheck:
    def test_right_and_wrong_files(self, run, lab, tmp_path):
        lab.write(tmp_path, "right")
        lab.write(tmp_path, "wrong", train_cfg={"max_epoch": 2})
        lab.write(tmp_path, "unbuildable", model={"mix_mode": "cutmx"})
        (tmp_path / "_base_").mkdir()
        lab.write(tmp_path / "_base_", "part", nonsense=1)
        code, out, err = run("check", tmp_path)
        assert (code, err) == (2, "")
        lines = out.splitlines()
        assert lines[0] == f"ok    {tmp_path / 'right.py'}"
        assert lines[1] == f"WRONG {tmp_path / 'unbuildable.py'}"
        assert "did you mean 'cutmix'?" in lines[2]
        assert lines[3] == f"WRONG {tmp_path / 'wrong.py'}"
        assert lines[-1] == "1 of 3 config files are right"
        assert run("check", tmp_path / "right.py")[0] == 0

    def test_dry_run(self, run, lab, tmp_path):
        path = lab.write(tmp_path)
        code, out, _ = run("check", path, "--dry-run")
        assert (code, out.splitlines()[-1]) == (0, "1 of 1 config files are right")
        assert not (tmp_path / "work_dirs").exists()

    def test_dry_run_that_fails_does_not_keep_the_others_from_theirs(self, run, lab, tmp_path, monkeypatch):
        from openmix.tasks import MixUpClassification

        forward = MixUpClassification.forward

        def failing(self: Any, batch: Any, context: Any) -> Any:
            return forward(self, batch, context) if len(self.mixers) == 2 else 1 / 0

        monkeypatch.setattr(MixUpClassification, "forward", failing)
        paths = [lab.write(tmp_path, "a", model={"mix_mode": "mixup"}), lab.write(tmp_path, "b")]
        code, out, err = run("check", *paths, "--dry-run")
        assert (code, err) == (2, "")
        assert "the dry run failed: ZeroDivisionError: division by zero" in out
        assert "1 of 2 config files are right" in out

    def test_a_config_should_state_its_claim(self, run, lab, tmp_path):
        path = Path(lab.write(tmp_path))
        path.write_text(path.read_text().split("\n", 1)[1])
        code, out, _ = run("check", path)
        assert code == 0
        assert "has no docstring to state its claim" in out

    def test_nothing_to_check(self, run, tmp_path):
        assert_refused(run("check", tmp_path), "no config file below")
        assert_refused(run("check", tmp_path / "nowhere"), "no config file or folder")


class TestOpenmix:
    """The `openmix` command finds its subcommands by name."""

    def test_subcommands(self, capsys):
        with pytest.raises(SystemExit) as end:
            main(["--help"])
        assert end.value.code == 0
        out = capsys.readouterr().out
        assert all(name in out for name in ("train", "test", "check", "preview", "compare"))

    def test_unknown(self, capsys):
        with pytest.raises(SystemExit) as end:
            main(["trian"])
        assert end.value.code == 2
        assert "invalid choice: 'trian'" in capsys.readouterr().err

    def test_runs_them(self, lab, tmp_path, capsys):
        assert main(["check", lab.write(tmp_path)]) == 0
        assert main(["train", "nowhere.py"]) == 2

    def test_version(self, capsys):
        import openmix

        with pytest.raises(SystemExit):
            main(["--version"])
        assert capsys.readouterr().out == f"openmix {openmix.__version__}\n"
