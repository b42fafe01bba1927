"""``load_from`` and ``test`` take other programs' files, by the names of their tensors."""

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from openmix.engine import weights
from openmix.engine.distributed import World
from openmix.engine.run import test as evaluate_checkpoint
from openmix.engine.run import train
from openmix.engine.weights import fitted_weights
from openmix.errors import UserError


@pytest.fixture(scope="module")
def trained(lab, tmp_path_factory):
    """A run, and its weights as R-Mix and others save them: wrapped in DataParallel, the classifier called linear."""
    folder = tmp_path_factory.mktemp("foreign")
    path = lab.write(folder)
    metrics = lab.train(path, folder / "run")
    ours = lab.state(folder / "run")["model"]
    theirs = {
        "module." + key.removeprefix("backbone.").replace("head.fc.", "linear."): value for key, value in ours.items()
    }
    torch.save({"state_dict": theirs, "epoch": 2}, folder / "theirs.pth.tar")
    save_file(theirs, folder / "theirs.safetensors")
    torch.save({"model": theirs, "args": argparse.Namespace(lr=0.1)}, folder / "theirs.pth")  # timm, DeiT and MAE
    return path, folder, metrics


@pytest.mark.parametrize("name", ["theirs.pth.tar", "theirs.safetensors", "theirs.pth"])
def test_the_same_weights_give_the_same_metrics(lab, trained, tmp_path, name):
    path, folder, metrics = trained
    assert evaluate_checkpoint(lab.load(path, tmp_path), str(folder / name), World()) == metrics


@pytest.mark.parametrize("name", ["theirs.pth.tar", "theirs.pth"])
def test_a_run_begins_from_them(lab, trained, tmp_path, name):
    path, folder, _ = trained
    frozen = {"optim_wrapper__optimizer__lr": 1e-30, "train_cfg__max_epochs": 1}
    lab.train(path, tmp_path / "on", load_from=str(folder / name), **frozen)
    before, after = lab.state(folder / "run")["model"], lab.state(tmp_path / "on")["model"]
    assert all(torch.equal(before[k], after[k]) for k in before if k.endswith("weight"))


def test_another_number_of_classes_begins_anew_and_cannot_be_evaluated(lab, trained, tmp_path):
    path, folder, _ = trained
    data = {"type": "Synthetic", "num_classes": 7, "image_shape": [1, 8, 8], "length": 52, "_delete_": True}
    other = {f"{split}_dataloader__dataset": data for split in ("train", "val")} | {"model__head__num_classes": 7}
    cfg = lab.load(path, tmp_path / "on", load_from=str(folder / "theirs.pth.tar"), **other)
    train(cfg, path, World(), quiet=True)
    assert "has no classifier of this config's classes: the head begins anew" in (tmp_path / "on/train.log").read_text()
    with pytest.raises(UserError, match="has no classifier of the config's 7 classes to evaluate"):
        evaluate_checkpoint(cfg, str(folder / "theirs.pth.tar"), World())


def test_resuming_wants_a_checkpoint_of_openmix(lab, trained, tmp_path):
    path, folder, _ = trained
    with pytest.raises(UserError, match="was not written by openmix's training: it cannot be resumed"):
        lab.train(path, tmp_path / "on", resume=str(folder / "theirs.pth.tar"))


class TestDamaged:
    """A damaged checkpoint of openmix is not read as if it were another program's."""

    @pytest.fixture(autouse=True)
    def nothing_is_foreign(self, monkeypatch):
        monkeypatch.setattr(weights, "read_weights", lambda path: pytest.fail(f"{path} was read as foreign"))

    @pytest.fixture
    def state(self, lab, trained) -> dict:
        return lab.state(trained[1] / "run")

    def refused(self, path: Path, message: str) -> None:
        with pytest.raises(UserError, match=message):
            fitted_weights(path, torch.nn.Linear(1, 1))

    def test_cut_off(self, state, tmp_path):
        torch.save(state, tmp_path / "a.pth")
        (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-500])
        self.refused(tmp_path / "a.pth", "a.pth is damaged, or not a file of tensors")

    def test_other_than_its_manifest_says(self, state, tmp_path):
        """Even where what is there now looks like another program's."""
        torch.save({"model": state["model"], "args": argparse.Namespace()}, tmp_path / "a.pth")
        entry = {"step": 1, "size": (tmp_path / "a.pth").stat().st_size, "sha256": "0" * 64}
        (tmp_path / "manifest.json").write_text(json.dumps({"a.pth": entry}))
        self.refused(tmp_path / "a.pth", "a.pth is damaged: its size or SHA-256 differs")

    @pytest.mark.parametrize("name", ["model", "ema"])
    @pytest.mark.parametrize("content", [5, [torch.zeros(1)], {1: torch.zeros(1)}, {"module.weight": 3}], ids=repr)
    def test_no_weights_where_they_should_be(self, state, tmp_path, name, content):
        torch.save({**state, "ema": None, name: content}, tmp_path / "a.pth")
        self.refused(tmp_path / "a.pth", f"a.pth is damaged: its {name} is .*, not tensors by name")
