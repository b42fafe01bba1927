"""A run that is resumed under other circumstances is refused, or adapts by rules of docs/reliability.md and says so."""

from pathlib import Path
from typing import Any

import pytest
import torch

from openmix.commands import run_command
from openmix.engine.checkpoint import load_checkpoint
from openmix.errors import UserError


@pytest.fixture
def stopped(lab, tmp_path):
    """A config, and the work dir of its run that was stopped after step 8 of 12."""
    path = lab.write(tmp_path)
    assert lab.train(path, tmp_path / "run", stop_after=8) is None
    return path, tmp_path / "run"


def warnings(run: Path) -> list[str]:
    lines = (run / "train.log").read_text().splitlines()
    return [line.split(" WARNING ", 1)[1] for line in lines if " WARNING " in line]


def change(run: Path, **circumstances: Any) -> None:
    """Let the newest checkpoint come from other circumstances; it has no manifest then."""
    path = run / "checkpoints" / "iter_8.pth"
    state = load_checkpoint(path)
    state["circumstances"] = {**state["circumstances"], **circumstances}
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    torch.save(state, path)


def test_nothing_is_said_where_nothing_changed(lab, stopped):
    path, run = stopped
    lab.train(path, run, resume=True)
    assert warnings(run) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"train_dataloader__dataset__length": 53},
            r"was trained on 52 images of 10 classes, \w+, this run's training",
        ),
        ({"randomness__seed": 1}, "was trained with seed 0, this run has 1"),
        ({"train_dataloader__batch_size": 9}, "epochs have"),
        ({"optim_wrapper__accumulative_counts": 2}, "epochs have"),
        ({"model__backbone__widths": [4, 9]}, "holds another network"),
        ({"custom_hooks": [{"type": "EMAHook"}]}, "only this config averages the weights"),
    ],
    ids=["data", "seed", "batch", "accumulation", "network", "average"],
)
def test_what_is_refused_leaves_the_run_alone(lab, stopped, overrides, message):
    path, run = stopped
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(UserError, match=message):
        lab.train(path, run, resume=True, **overrides)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_another_batch_is_refused_where_the_number_of_steps_does_not_tell(lab, tmp_path):
    path = lab.write(tmp_path, train_dataloader={"batch_size": 18}, train_cfg={"max_epochs": 4})  # 2 steps, as with 20
    assert lab.train(path, tmp_path / "run", stop_after=3) is None
    with pytest.raises(UserError, match=r"trained with 18 images a step, this run has 20 \(batch_size x"):
        lab.train(path, tmp_path / "run", resume=True, train_dataloader__batch_size=20)


def test_relabelled_data_are_refused(lab, stopped, monkeypatch):
    from openmix.data.sources import Synthetic

    path, run = stopped
    original = Synthetic.__init__

    def relabelled(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.labels[0] = (self.labels[0] + 1) % 10

    monkeypatch.setattr(Synthetic, "__init__", relabelled)
    with pytest.raises(UserError, match=r"was trained on 52 images of 10 classes, .* or begin anew from its weights"):
        lab.train(path, run, resume=True)


def test_as_many_micro_batches_of_fewer_processes_are_the_same_draws(lab, ranks, tmp_path):
    path = lab.write(tmp_path, train_dataloader={"batch_size": 4})
    run = tmp_path / "run"
    ranks(2, "train_config", config=path, overrides={"work_dir": str(run)}, stops={"0": 2, "1": 2})
    lab.train(path, run, resume=True, optim_wrapper__accumulative_counts=2)
    (said,) = [line for line in warnings(run) if "micro-batches a step" in line]
    assert said == (
        "the checkpoint comes from processes x accumulation of 2 x 1 micro-batches a step, this run has 1 x 2 micro-"
        "batches a step: batches and draws stay the same; BatchNorm's running statistics are those that the main "
        "process sees"
    )


def test_the_same_images_in_other_micro_batches_are_other_draws(lab, stopped):
    path, run = stopped
    lab.train(path, run, resume=True, train_dataloader__batch_size=4, optim_wrapper__accumulative_counts=2)
    assert any("the draws are others from here on" in line for line in warnings(run))
    assert any("optim_wrapper, train_dataloader differ" in line for line in warnings(run))


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ({"code": {"torch": "2.0"}}, r"comes from torch 2\.0, now 2\.\S+.*: the run goes on, perhaps not to the same"),
        ({"code": {"commit": "abc"}}, r"comes from commit abc, now \w+"),
        ({"code": {"python": "3.0"}}, r"comes from python 3\.0, now 3\.\d+\.\d+: "),
        ({"device": "NVIDIA H200"}, r"comes from device NVIDIA H200, now .+: "),
        ({"threads": 17}, "comes from threads 17, now 1: "),
    ],
    ids=["torch", "commit", "python", "device", "threads"],
)
def test_other_code_or_machine_is_said(lab, stopped, then, message):
    path, run = stopped
    state = load_checkpoint(run / "checkpoints" / "last.pth")["circumstances"]
    change(run, **{k: {**state[k], **v} if isinstance(v, dict) else v for k, v in then.items()})
    lab.train(path, run, resume=True)
    assert len(warnings(run)) == 1
    import re

    assert re.search(message, warnings(run)[0])


def test_a_checkpoint_that_does_not_tell_is_taken(lab, stopped):
    path, run = stopped
    checkpoint = run / "checkpoints" / "iter_8.pth"
    state = load_checkpoint(checkpoint)
    del state["circumstances"]
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    torch.save(state, checkpoint)
    lab.train(path, run, resume=True)
    assert lab.state(run)["step"] == 12
    assert warnings(run) == ["the checkpoint does not say what data and code it comes from: they were not compared"]


@pytest.mark.parametrize("rotten", [None, 3, [], {"data": 1}, {"batch_size": "8"}, {"code": None}])
def test_damaged_circumstances_are_refused(lab, stopped, capsys, rotten):
    path, run = stopped
    checkpoint = run / "checkpoints" / "iter_8.pth"
    state = load_checkpoint(checkpoint)
    state["circumstances"] = {**state["circumstances"], **rotten} if isinstance(rotten, dict) else rotten
    for file in (run / "checkpoints").iterdir():
        file.unlink()
    torch.save(state, checkpoint)
    assert run_command("train", [path, "--work-dir", str(run), "--resume"]) == 2
    assert "Traceback" not in capsys.readouterr().err
