"""A loss or gradient that is no number: no weight moves on any process, and the batch can be rebuilt."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from openmix.commands import run_command

# Poison of a batch or of a gradient, as a user's hook on one rank; and the batches as the task got them.
HOOK = """
from pathlib import Path
import torch
from mmengine.hooks import Hook
from openmix.engine.nonfinite import digest
from openmix.registry import HOOKS

@HOOKS.register_module(force=True)
class Poison(Hook):
    def __init__(self, folder: str, step: int, rank: int, where: str) -> None:
        self.folder, self.step, self.rank, self.where = Path(folder), step, rank, where

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter + 1 != self.step:
            return
        state = {k: v.clone() for k, v in runner.task.state_dict().items()}
        torch.save({"views": list(data_batch.views), "labels": data_batch.labels, "index": data_batch.index,
                    "weights": state}, self.folder / f"seen{runner.rank}.pt")
        runner.before = [p.detach().clone() for p in runner.task.parameters()]
        self.runner = runner
        if runner.rank != self.rank:
            return
        bias = runner.task.head.fc.bias
        if self.where == "gradient":
            handle = bias.register_hook(lambda gradient: (handle.remove(), gradient * float("inf"))[1])
        else:
            handle = runner.task.head.fc.register_forward_hook(
                lambda module, inputs, output: (handle.remove(), output * float(self.where))[1])

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.step:
            (self.folder / f"updated{runner.rank}").touch()
"""
STEP = 5  # in the second epoch of 3 steps; it neither logs nor saves


@pytest.fixture
def poisoned(lab, tmp_path, monkeypatch):
    """Write a config whose run meets a number that is none."""
    (tmp_path / "poison_hook.py").write_text(HOOK)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(rank: int, where: str, **changes: Any) -> str:
        hook = {"type": "Poison", "folder": str(tmp_path), "step": STEP, "rank": rank, "where": where}
        imports = {"imports": ["poison_hook"], "allow_failed_imports": False}
        return lab.write(tmp_path, custom_hooks=[hook], custom_imports=imports, **changes)

    yield write
    import sys

    sys.modules.pop("poison_hook", None)
    from openmix.registry import HOOKS

    HOOKS.module_dict.pop("Poison", None)


@pytest.mark.parametrize("where", ["nan", "inf", "gradient"])
def test_on_rank_1_stops_both_before_the_update(ranks, poisoned, tmp_path, where):
    path = poisoned(1, where)
    overrides = {"work_dir": str(tmp_path / "run")}
    told = ranks(2, "train_until_nonfinite", config=path, overrides=overrides)
    for rank, report in enumerate(told):
        assert report["message"] is not None, f"rank {rank} went on"
        assert report["same"], f"rank {rank} updated its weights"
        assert not (tmp_path / f"updated{rank}").exists()
    loss_is = "the gradient is not finite" if where == "gradient" else "the loss is"
    assert told[1]["message"].startswith(f"{loss_is}")
    assert "though this process's loss is (" in told[0]["message"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    for rank in range(2):
        assert_rebuilt(tmp_path, rank)


def assert_rebuilt(folder: Path, rank: int) -> None:
    """Assert that the key of a rank gives back what its task saw, to the bit."""
    key = folder / "run" / "nonfinite" / f"step_{STEP}_rank_{rank}.json"
    content = json.loads(key.read_text())
    seen = torch.load(folder / f"seen{rank}.pt", weights_only=True)
    assert {k: content[k] for k in ("seed", "epoch", "step", "rank", "world_size")} == {
        "seed": 0, "epoch": 2, "step": STEP, "rank": rank, "world_size": 2,
    }  # fmt: skip
    assert content["micro_batches"][0]["index"] == seen["index"].tolist()
    assert run_command("replay", [str(key), "--out", str(folder / "rebuilt")]) == 0
    again = load_file(folder / "rebuilt" / f"shard_{rank}.safetensors")
    assert torch.equal(again["view_0"], seen["views"][0])
    assert torch.equal(again["labels"], seen["labels"])
    assert torch.equal(again["index"], seen["index"])


@pytest.mark.parametrize(
    "loader",
    [
        {"type": "ResidentLoader", "batch_size": 8},
        {"type": "TorchLoader", "batch_size": 4, "num_workers": 1},
    ],
    ids=["resident", "torch, workers and accumulation"],
)
def test_one_process_rebuilds_every_micro_batch(lab, poisoned, tmp_path, capsys, loader):
    dataset = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 26}
    pipeline = [{"type": "RandomCrop", "size": 8, "padding": 2}, {"type": "RandomHorizontalFlip"}]
    accumulate = 8 // loader["batch_size"]
    path = poisoned(
        0, "nan", train_dataloader={**loader, "dataset": dataset, "pipeline": pipeline},
        optim_wrapper={"accumulative_counts": accumulate},
    )  # fmt: skip
    assert run_command("train", [path, "--work-dir", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the loss is nan in epoch 2, step 5, shard 0; the weights were not updated; 'openmix")
    assert "Traceback" not in said
    key = tmp_path / "run" / "nonfinite" / "step_5_rank_0.json"
    assert str(key) in said
    assert len(json.loads(key.read_text())["micro_batches"]) == accumulate
    assert run_command("replay", [str(key)]) == 0
    assert capsys.readouterr().out.count("the batch that the run had, bit for bit") == accumulate
    seen = torch.load(tmp_path / "seen0.pt", weights_only=True)
    assert torch.equal(load_file(key.with_suffix("") / "shard_0.safetensors")["view_0"], seen["views"][0])
    assert (key.with_suffix("") / "shard_0.png").stat().st_size > 100


def test_the_run_goes_on_from_its_last_checkpoint_and_meets_it_again(lab, poisoned, tmp_path, capsys):
    """What is keyed comes again: the step fails at the same images; without the poison the run ends well."""
    path = poisoned(0, "nan", train_dataloader={"dataset": {"length": 26}})
    run = str(tmp_path / "run")
    assert run_command("train", [path, "--work-dir", run]) == 1
    key = tmp_path / "run" / "nonfinite" / "step_5_rank_0.json"
    first = key.read_bytes()
    assert lab.state(tmp_path / "run")["step"] == 3
    assert run_command("train", [path, "--work-dir", run, "--resume"]) == 1
    assert key.read_bytes() == first
    assert run_command("train", [path, "--work-dir", run, "--resume", "--cfg-options", "custom_hooks=[]"]) == 0
    assert run_command("train", [path, "--work-dir", str(tmp_path / "whole"), "--cfg-options", "custom_hooks=[]"]) == 0
    lab.assert_same_run(tmp_path / "whole", tmp_path / "run")


class TestReplay:
    @pytest.fixture
    def key(self, poisoned, tmp_path, capsys):
        path = poisoned(0, "nan", train_dataloader={"dataset": {"length": 26}})
        assert run_command("train", [path, "--work-dir", str(tmp_path / "run")]) == 1
        capsys.readouterr()
        return tmp_path / "run" / "nonfinite" / "step_5_rank_0.json"

    def test_with_a_checkpoint_it_finds_where_it_arises(self, key, tmp_path, capsys):
        state = torch.load(tmp_path / "run" / "checkpoints" / "last.pth", weights_only=True)
        weights = [k for k in state["model"] if k.endswith("weight")]
        assert run_command("replay", [str(key), "--checkpoint", str(tmp_path / "run/checkpoints/last.pth")]) == 0
        out = capsys.readouterr().out
        assert "all gradients are finite" in out  # the poison was a hook's, not the weights' or the images'
        state["model"][weights[0]].fill_(3e38)  # finite, but no sum of two of them is
        torch.save(state, tmp_path / "bad.pth")
        assert run_command("replay", [str(key), "--checkpoint", str(tmp_path / "bad.pth")]) == 0
        out = capsys.readouterr().out
        assert "outputs that are not finite, the first to arise first: backbone." in out
        assert "gradients that are not finite: " in out

    def test_other_data_are_found(self, key, tmp_path, capsys):
        config = tmp_path / "run" / "config.py"
        config.write_text(config.read_text().replace("'length': 26", "'length': 25"))
        assert run_command("replay", [str(key)]) == 1
        assert "NOT the batch that the run had" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"seed": 1}, "the step was of a run with seed 1, the config has 0"),
            ({"epoch": 1}, "the config's epoch 1 has no step 5"),
            ({"step": 0}, "is damaged, or no key of a step"),
            ({"step": "5"}, "is damaged, or no key of a step"),
            ({"rank": 3}, "is damaged, or no key of a step"),
            ({"micro_batches": []}, "is damaged, or no key of a step"),
            (
                {"micro_batches": [{"shard": 0}, {"shard": 0}]},
                "the run had 2 micro-batches a step and process, ",
            ),
            ({"micro_batches": [7]}, "is damaged, or no key of a step"),
        ],
    )
    def test_a_key_that_does_not_fit(self, key, capsys, change, message):
        key.write_text(json.dumps({**json.loads(key.read_text()), **change}))
        assert run_command("replay", [str(key)]) == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("content", ["", "{", "[]", "null", '"x"', "{}"])
    def test_a_damaged_key(self, key, capsys, content):
        key.write_text(content)
        assert run_command("replay", [str(key)]) == 2
        assert "is damaged, or no key of a step" in capsys.readouterr().err

    def test_a_missing_key(self, tmp_path, capsys):
        assert run_command("replay", [str(tmp_path / "no.json")]) == 2
        assert "no file" in capsys.readouterr().err
