"""What a run does and leaves behind: its lengths and intervals, its work dir, its records, its end."""

import importlib.metadata
import json
import logging
import math
import socket
from pathlib import Path

import pytest
import torch
from torch import nn

from openmix.engine import run as engine
from openmix.engine.config import load_config
from openmix.engine.distributed import World
from openmix.engine.step import NonFiniteError
from openmix.errors import UserError
from openmix.registry import MODELS

STEPS = {"max_epochs": None, "max_iters": 8}
EVERY_FIFTH = {"interval": 5, "by_epoch": False}


class TestIntervals:
    """An epoch has 6 steps."""

    @pytest.mark.parametrize(
        ("key", "value", "train_steps", "val_steps", "checkpoints"),
        [
            ("train_cfg", {}, [4, 6, 8, 12], [6, 12], ["epoch_1", "epoch_2"]),
            (
                "train_cfg",
                {"max_epochs": 3, "val_interval": 2},
                [4, 6, 8, 12, 16, 18],
                [12, 18],
                ["epoch_2", "epoch_3"],
            ),
            ("train_cfg", {"val_interval": 5}, [4, 6, 8, 12], [12], ["epoch_1", "epoch_2"]),
            ("train_cfg", STEPS, [4, 6, 8], [6, 8], ["epoch_1", "iter_8"]),
            ("train_cfg", {**STEPS, "val_interval": 3}, [4, 6, 8], [3, 6, 8], ["epoch_1", "iter_8"]),
            ("default_hooks", {"logger": {"interval": 100}}, [6, 12], [6, 12], ["epoch_1", "epoch_2"]),
            ("default_hooks", {"checkpoint": {"interval": 2}}, [4, 6, 8, 12], [6, 12], ["epoch_2"]),
            ("default_hooks", {"checkpoint": EVERY_FIFTH}, [4, 6, 8, 12], [6, 12], ["epoch_2", "iter_10"]),
            ("val_dataloader", None, [4, 6, 8, 12], [], ["epoch_1", "epoch_2"]),
        ],
    )
    def test_what_happens_when(self, lab, tmp_path, monkeypatch, key, value, train_steps, val_steps, checkpoints):
        from openmix.engine.trainer import Trainer

        monkeypatch.setattr(Trainer, "_is_best", lambda self: False)  # a best one is saved besides
        lab.train(lab.write(tmp_path, **{key: value}), tmp_path / "run")
        records = lab.records(tmp_path / "run")
        assert [r["step"] for r in records if r["split"] == "train"] == train_steps
        assert [r["step"] for r in records if r["split"] == "val"] == val_steps
        assert [r["epoch"] for r in records] == [math.ceil(r["step"] / 6) for r in records]
        assert sorted(p.stem for p in (tmp_path / "run" / "checkpoints").glob("*_*.pth")) == checkpoints
        assert lab.state(tmp_path / "run")["step"] == train_steps[-1]

    def test_max_iters_from_the_command_line_needs_max_epochs_taken_away(self, lab, tmp_path):
        path = lab.write(tmp_path)
        with pytest.raises(UserError, match="the other None; got max_epochs=2, max_iters=2"):
            load_config(path, {"train_cfg.max_iters": 2})
        lab.train(path, tmp_path / "run", train_cfg__max_iters=2, train_cfg__max_epochs=None)
        assert lab.state(tmp_path / "run")["step"] == 2

    def test_a_child_replaces_the_length(self, lab, tmp_path):
        lab.write(tmp_path, "parent")
        child = tmp_path / "child.py"
        for text in ("dict(_delete_=True, max_iters=2)", "dict(max_epochs=None, max_iters=2)"):
            child.write_text(f"_base_ = './parent.py'\ntrain_cfg = {text}\n")
            assert load_config(str(child)).train_cfg.max_iters == 2

    def test_default_hooks_are_overridden_in_part(self, lab, tmp_path):
        cfg = load_config(lab.write(tmp_path), {"default_hooks.checkpoint.interval": 7})
        assert cfg.default_hooks == {"logger": {"interval": 4}, "checkpoint": {"interval": 7}}


@pytest.fixture(scope="module")
def run(lab, tmp_path_factory) -> Path:
    """The work dir of a finished run."""
    folder = tmp_path_factory.mktemp("records")
    lab.train(lab.write(folder, vis_backends=[{"type": "TensorboardVisBackend"}]), folder / "run")
    return folder / "run"


class TestRecords:
    def test_metrics(self, run):
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        train = {"split", "epoch", "step", "lr", "loss", "top1_dominant", "images_per_s", "time_s"}
        val = {"split", "epoch", "step", "top1", "top5", "nll", "ece", "n", "time_s"}
        assert {frozenset(r) for r in records if r["split"] == "train"} == {frozenset(train)}
        assert {frozenset(r) for r in records if r["split"] == "val"} == {frozenset(val)}
        images = [r["images_per_s"] * r["time_s"] for r in records if r["split"] == "train"]
        assert sum(images) == pytest.approx(records[-1]["step"] * 8, abs=0.01), "batches of 8"
        assert all(r["time_s"] > 0 for r in records if r["split"] == "train")

    def test_losses_are_means_over_their_interval(self, lab, run, tmp_path):
        """Logged every 4 steps, they are the means of what is logged every step."""
        path = lab.write(tmp_path, default_hooks={"logger": {"interval": 1}})
        lab.train(path, tmp_path / "fine")
        fine = {r["step"]: r["loss"] for r in lab.records(tmp_path / "fine") if r["split"] == "train"}
        intervals = {4: [1, 2, 3, 4], 6: [5, 6], 8: [7, 8], 12: [9, 10, 11, 12]}
        for record in lab.records(run):
            if record["split"] == "train":
                mean = sum(fine[step] for step in intervals[record["step"]]) / len(intervals[record["step"]])
                assert record["loss"] == pytest.approx(mean, rel=1e-6)

    def test_run_json(self, lab, run):
        record = json.loads((run / "run.json").read_text())
        assert record["schema"] == 1
        assert record["status"] == "done"
        assert record["seed"] == 0
        assert (record["world_size"], record["threads"]) == (1, torch.get_num_threads())
        assert record["versions"]["torch"] == importlib.metadata.version("torch")
        assert record["resumed_at"] is None
        assert len(record["config_hash"]) == 16
        assert record["start_time"] <= record["end_time"]

    def test_resolved_config_is_a_config(self, lab, run):
        cfg = load_config(str(run / "config.py"))
        assert cfg.work_dir == str(run)
        assert cfg.train_cfg.max_epochs == 2

    def test_tensorboard_has_every_record(self, lab, run):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        (events,) = (run / "vis_data").glob("events*")
        log = EventAccumulator(str(events)).Reload()
        losses = [(e.step, pytest.approx(e.value)) for e in log.Scalars("train/loss")]
        assert losses == [(r["step"], r["loss"]) for r in lab.records(run) if r["split"] == "train"]
        assert len(log.Scalars("val/top1")) == 2

    def test_log(self, run):
        text = (run / "train.log").read_text()
        assert "1,182 parameters, epochs of 6 steps, 12 steps in all, on 1 x cpu" in text
        assert "epoch 2/2, step 12/12: " in text
        assert "images/s, ETA 0:00:00" in text

    def test_status_of_a_stopped_and_of_a_failed_run(self, lab, tmp_path, monkeypatch):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run", stop_after=3)
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"
        from openmix.engine.trainer import Trainer

        monkeypatch.setattr(Trainer, "_log", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            lab.train(path, tmp_path / "run", resume=True)
        record = json.loads((tmp_path / "run" / "run.json").read_text())
        assert (record["status"], record["resumed_at"]) == ("failed", 3)

    def test_a_cut_off_last_line_is_dropped_on_resume(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "whole")
        lab.train(path, tmp_path / "run", stop_after=8)
        with open(tmp_path / "run" / "metrics.jsonl", "a") as file:
            file.write('{"split": "train", "epoch": 2, "step": 10}\n{"split": "tra')
        lab.train(path, tmp_path / "run", resume=True)
        lab.assert_same_run(tmp_path / "whole", tmp_path / "run")


ADAM = {"_delete_": True, "type": "AdamW", "lr": 0.1}


class TestWorkDir:
    def test_earlier_run_is_moved_aside_whole(self, lab, tmp_path):
        path = lab.write(tmp_path, vis_backends=[{"type": "TensorboardVisBackend"}])
        work_dir = tmp_path / "run"
        contents = []
        for seed in (0, 1, 2):
            lab.train(path, work_dir, randomness__seed=seed)
            contents.append({p.relative_to(work_dir): p.read_bytes() for p in files(work_dir) if p.name != "notes.txt"})
            (work_dir / "notes.txt").write_text("mine")
        for number, content in enumerate(contents[:2], 1):
            aside = work_dir / "earlier" / str(number)
            assert {p.relative_to(aside): p.read_bytes() for p in files(aside)} == content
        assert not (work_dir / "earlier" / "3").exists()
        assert (work_dir / "notes.txt").read_text() == "mine"
        assert json.loads((work_dir / "run.json").read_text())["seed"] == 2

    def test_other_files_are_left_alone(self, lab, tmp_path):
        """A work dir may be a folder that holds other things, such as the current one."""
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "code.py").write_text("code")
        path = lab.write(tmp_path)
        for _ in range(2):
            lab.train(path, tmp_path)
        assert (tmp_path / "src" / "code.py").exists()
        assert Path(path).exists()
        assert {p.name for p in (tmp_path / "earlier" / "1").iterdir()} == {
            "checkpoints", "config.py", "metrics.jsonl", "run.json", "train.log",
        }  # fmt: skip

    def test_checkpoint_from_elsewhere_starts_a_new_record(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "whole")
        lab.train(path, tmp_path / "there", stop_after=6)
        lab.train(path, tmp_path / "here", randomness__seed=5)
        before = (tmp_path / "here" / "metrics.jsonl").read_text()
        lab.train(path, tmp_path / "here", resume=str(tmp_path / "there" / "checkpoints" / "last.pth"))
        assert lab.differences(lab.state(tmp_path / "whole"), lab.state(tmp_path / "here")) == []
        assert (tmp_path / "here" / "earlier" / "1" / "metrics.jsonl").read_text() == before
        assert [r["step"] for r in lab.records(tmp_path / "here")] == [8, 12, 12]

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            (
                "model__backbone__widths",
                [4, 6],
                "the checkpoint holds another network than the config's: 11 of another shape",
            ),
            ("model__backbone__widths", [4], "the checkpoint holds another network than the config's: "),
            ("randomness__seed", 1, "the checkpoint was trained with seed 0, this run has 1"),
            ("train_dataloader__batch_size", 4, "the checkpoint's epochs have 6 steps, this run's 13"),
            ("optim_wrapper__optimizer", ADAM, "the state of another optimizer than this config's AdamW"),
            ("custom_hooks", [{"type": "EMAHook"}], "only this config averages the weights"),
        ],
    )
    def test_checkpoint_that_does_not_fit_changes_nothing(self, lab, tmp_path, key, value, message):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run", stop_after=7)
        before = {p: p.read_bytes() for p in files(tmp_path / "run")}
        for resume in (True, str(tmp_path / "run" / "checkpoints" / "last.pth")):
            with pytest.raises(UserError, match=message):
                lab.train(path, tmp_path / "run", resume=resume, **{key: value})
        assert {p: p.read_bytes() for p in files(tmp_path / "run")} == before

    def test_ema_in_the_checkpoint_only(self, lab, tmp_path):
        path = lab.write(tmp_path, custom_hooks=[{"type": "EMAHook"}])
        lab.train(path, tmp_path / "run", stop_after=2)
        with pytest.raises(UserError, match="only the checkpoint averages the weights"):
            lab.train(path, tmp_path / "run", resume=True, custom_hooks=[])

    def test_wrong_load_from_changes_nothing(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run")
        before = {p: p.read_bytes() for p in files(tmp_path / "run")}
        with pytest.raises(UserError, match=r"no checkpoint nowhere\.pth"):
            lab.train(path, tmp_path / "run", load_from="nowhere.pth")
        assert {p: p.read_bytes() for p in files(tmp_path / "run")} == before

    def test_resume_where_there_is_nothing_starts_afresh(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run", resume=True)
        assert lab.state(tmp_path / "run")["step"] == 12
        assert not (tmp_path / "run" / "earlier").exists()


class TestWeights:
    def test_load_from_takes_the_weights_and_nothing_else(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "first")
        last = str(tmp_path / "first" / "checkpoints" / "last.pth")
        # with a learning rate of 0 the weights stay what they were loaded as; BatchNorm's statistics move
        lab.train(path, tmp_path / "second", load_from=last, optim_wrapper__optimizer__lr=0.0, randomness__seed=4)
        loaded, trained = lab.state(tmp_path / "first")["model"], lab.state(tmp_path / "second")["model"]
        weights = [k for k in loaded if "running" not in k and "tracked" not in k]
        assert all(torch.equal(loaded[k], trained[k]) for k in weights)
        assert lab.state(tmp_path / "second")["step"] == 12

    def test_a_resumed_run_does_not_ask_for_what_it_was_started_from(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "first")
        start = tmp_path / "first" / "checkpoints" / "last.pth"
        lab.train(path, tmp_path / "second", load_from=str(start), stop_after=3)
        start.unlink()
        assert lab.train(path, tmp_path / "second", resume=True, load_from=str(start)) is not None

    @pytest.mark.parametrize("hooks", [[], [{"type": "EMAHook", "momentum": 0.5}]], ids=["plain", "ema"])
    def test_testing_repeats_the_last_validation(self, lab, tmp_path, hooks):
        path = lab.write(tmp_path, custom_hooks=hooks, model={"mix_mode": "vanilla"})
        metrics = lab.train(path, tmp_path / "run")
        last = str(tmp_path / "run" / "checkpoints" / "last.pth")
        assert engine.test(load_config(path), last, World()) == metrics
        assert list(metrics) == ["top1", "top5", "nll", "ece", "n"]
        if hooks:
            state = torch.load(last, weights_only=True)
            torch.save({**state, "ema": None}, tmp_path / "without.pth")
            assert engine.test(load_config(path), str(tmp_path / "without.pth"), World())["nll"] != metrics["nll"]

    def test_test_split(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run")
        last = str(tmp_path / "run" / "checkpoints" / "last.pth")
        with pytest.raises(UserError, match="the config has no test_dataloader to evaluate"):
            engine.test(load_config(path), last, World(), "test")
        loader = {"type": "TorchLoader", "batch_size": 5}
        dataset = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 11}
        path = lab.write(tmp_path, test_dataloader={**loader, "dataset": dataset})
        assert engine.test(load_config(path), last, World(), "test")["n"] == 11

    @pytest.mark.parametrize(("metric", "better"), [("top1", max), ("nll", min), ("ece", min)])
    def test_best_is_the_best_by_the_named_metric(self, lab, tmp_path, metric, better):
        path = lab.write(
            tmp_path,
            train_cfg={"max_epochs": 5},
            optim_wrapper={"optimizer": {"lr": 0.5}},
            default_hooks={"checkpoint": {"save_best": metric}},
        )
        lab.train(path, tmp_path / "run")
        vals = {r["step"]: r[metric] for r in lab.records(tmp_path / "run") if r["split"] == "val"}
        best = lab.state(tmp_path / "run", "best.pth")
        assert vals[best["step"]] == better(vals.values()) == best["metrics"][metric]
        assert best["step"] == next(step for step, value in vals.items() if value == better(vals.values()))

    def test_no_best(self, lab, tmp_path):
        lab.train(lab.write(tmp_path, default_hooks={"checkpoint": {"save_best": None}}), tmp_path / "run")
        assert not (tmp_path / "run" / "checkpoints" / "best.pth").exists()


class Diverges(nn.Module):
    """Fails at the third training batch: its output is NaN; or its gradient alone is; or its gradient is only huge."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.conv, self.calls, self.where = nn.Conv2d(1, 4, 1), 0, where

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features = self.conv(images)
        if self.training:
            self.calls += 1
            if self.calls == 3:
                features = {
                    "loss": lambda x: x * math.nan,
                    "gradient": lambda x: (x * 0).abs().sqrt() + x,
                    "weights": lambda x: x + (x - x.detach()) * 1e34,
                }[self.where](features)
        return (features,)


class TestDivergence:
    @pytest.fixture(autouse=True)
    def network(self):
        MODELS.register_module(module=Diverges)
        yield
        MODELS.module_dict.pop("Diverges")

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            ("loss", r"the loss is nan in epoch 1, step 3, shard 0; the weights were not updated"),
            ("gradient", r"the gradient is not finite in epoch 1, step 3, though this process's loss is \(2\.\d+\)"),
            ("weights", r"the weights are not finite after step 3; they are not saved"),
        ],
    )
    def test_nothing_is_saved_after_it(self, lab, tmp_path, where, message):
        """Infinite weights arise in the very step that is to be saved."""
        path = lab.write(
            tmp_path,
            model={"backbone": {"type": "Diverges", "where": where}, "head": {"in_channels": 4}},
            default_hooks={"checkpoint": {"interval": 1 if where == "weights" else 2, "by_epoch": False}},
            optim_wrapper={"optimizer": {"lr": 1e3 if where == "weights" else 0.1}},
            train_cfg={"max_epochs": 1},
        )
        with pytest.raises(NonFiniteError, match=message):
            lab.train(path, tmp_path / "run")
        for name in ("last.pth", "iter_2.pth"):
            state = lab.state(tmp_path / "run", name)
            assert state["step"] == 2
            assert all(v.isfinite().all() for v in state["model"].values())
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"

    def test_a_metric_that_is_no_number_is_never_best(self, lab, tmp_path, monkeypatch):
        import openmix.engine.trainer as trainer

        values = iter([math.nan, 20.0, math.nan, 10.0])
        rest = {"top5": 0.0, "nll": 0.0, "ece": 0.0, "n": 1}
        monkeypatch.setattr(trainer, "evaluate", lambda *a: {"top1": next(values), **rest})
        lab.train(lab.write(tmp_path, train_cfg={"max_epochs": 4}), tmp_path / "run")
        assert lab.state(tmp_path / "run", "best.pth")["step"] == 12


class TestDryRun:
    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"train_dataloader": {"batch_size": 1000}},  # shrunk
            {"optim_wrapper": {"accumulative_counts": 3}},
            {"param_scheduler": [{"type": "LinearLR", "end": 1}, {"type": "CosineAnnealingLR", "begin": 1}]},
            {"val_dataloader": None},
            {"custom_hooks": [{"type": "EMAHook"}]},
        ],
    )
    def test_right(self, lab, tmp_path, changes):
        cfg = load_config(lab.write(tmp_path, **changes))
        assert engine.dry_run(cfg, str(tmp_path / "dry"), World()) == []
        assert lab.state(tmp_path / "dry")["step"] == 2

    def test_missing_data_are_replaced_with_a_note(self, lab, tmp_path):
        dataset = {"type": "CIFAR10", "data_root": str(tmp_path / "nowhere")}
        loaders = {
            k: {"type": "TorchLoader", "batch_size": 100, "dataset": dataset, "pipeline": []}
            for k in ("train_dataloader", "val_dataloader")
        }
        model = {"backbone": {"in_channels": 3}}
        cfg = load_config(lab.write(tmp_path, model=model, data_preprocessor={"mean": [0.5]}, **loaders))
        notes = engine.dry_run(cfg, str(tmp_path / "dry"), World())
        assert len(notes) == 2
        assert all("used random images, as CIFAR10 was not found" in note for note in notes)


def files(folder: Path) -> list[Path]:
    """All files of the run in a folder."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    return sorted(p for p in found if "earlier" not in p.relative_to(folder).parts)


def test_terminal_says_what_the_log_says(lab, tmp_path, capsys):
    path = lab.write(tmp_path)
    cfg = lab.load(path, tmp_path / "run")
    engine.train(cfg, path, World())
    lines = capsys.readouterr().out.splitlines()
    logged = (tmp_path / "run" / "train.log").read_text().splitlines()
    assert len(lines) == len(logged) == 6  # a line an epoch would be too many where epochs are short
    assert [x.split(" ", 1)[1] for x in lines] == [x.split("INFO ", 1)[1] for x in logged]


def test_nothing_is_left_open(lab, tmp_path, monkeypatch):
    """Handlers, loaders and visualizers of a run do not outlive it."""
    closed: list[str] = []
    from openmix.data import ResidentLoader

    close = ResidentLoader.close
    monkeypatch.setattr(ResidentLoader, "close", lambda self: (closed.append(self.num_samples), close(self)))
    path = lab.write(tmp_path, vis_backends=[{"type": "TensorboardVisBackend"}])
    for _ in range(2):  # in the same work dir, in one process
        lab.train(path, tmp_path / "run")
    assert sorted(c for c in closed if c > 1) == [30, 30, 52, 52]
    assert not [h for h in logging._handlerList if "train.log" in str(getattr(h(), "baseFilename", "")) and h().stream]
    assert len(list((tmp_path / "run" / "vis_data").iterdir())) == 1


def test_compiled_backbone_trains_alike(lab, tmp_path, monkeypatch):
    """With mixing inside it, an average of its weights, and a resume; the 'eager' compiler changes no number."""
    compiled = []

    def compile_eagerly(module: nn.Module) -> None:
        compiled.append(type(module).__name__)
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    path = lab.write(tmp_path, model={"mix_mode": "manifoldmix"}, custom_hooks=[{"type": "EMAHook", "momentum": 0.3}])
    lab.train(path, tmp_path / "plain")
    assert compiled == []
    lab.train(path, tmp_path / "compiled", stop_after=5, train_cfg__compile=True)
    lab.train(path, tmp_path / "compiled", resume=True, train_cfg__compile=True)
    assert compiled == ["ConvNet"] * 2
    lab.assert_same_run(tmp_path / "plain", tmp_path / "compiled")
    torch._dynamo.reset()
    assert torch._dynamo.config.cache_size_limit >= 64, "a graph for each stage and kind of plan"


def test_what_only_another_process_has_met_is_said_by_it(monkeypatch, capsys):
    """The main one prints its own mistakes; it may know nothing of this one."""
    from types import SimpleNamespace

    from openmix.engine.log import open_logger

    def train() -> None:
        raise UserError("image 7 is damaged")

    for rank, said in ((0, ""), (1, f"process 1 of 2 on {socket.gethostname()}: image 7 is damaged\n")):
        world = World(rank, 2)
        logger, _ = open_logger(None, world, quiet=True)
        with pytest.raises(UserError):
            engine._run(SimpleNamespace(train=train, logger=logger), world)  # type: ignore[arg-type]
        assert capsys.readouterr().err == said
