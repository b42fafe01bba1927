"""``load_from`` and ``test`` take other programs' files, by the names of their tensors."""

import pytest
import torch
from safetensors.torch import save_file

from openmix.engine.distributed import World
from openmix.engine.run import test as evaluate_checkpoint
from openmix.engine.run import train
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
    return path, folder, metrics


@pytest.mark.parametrize("name", ["theirs.pth.tar", "theirs.safetensors"])
def test_the_same_weights_give_the_same_metrics(lab, trained, tmp_path, name):
    path, folder, metrics = trained
    assert evaluate_checkpoint(lab.load(path, tmp_path), str(folder / name), World()) == metrics


def test_a_run_begins_from_them(lab, trained, tmp_path):
    path, folder, _ = trained
    frozen = {"optim_wrapper__optimizer__lr": 1e-30, "train_cfg__max_epochs": 1}
    lab.train(path, tmp_path / "on", load_from=str(folder / "theirs.pth.tar"), **frozen)
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
