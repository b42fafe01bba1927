"""convert as a user meets it: a file and a report, or one message and nothing written."""

import os

import pytest
import torch
from safetensors.torch import save_file

from openmix.commands import main, run_command
from openmix.engine.config import load_config
from openmix.registry import build_task

OLD = """
model = dict(
    type="MixUpClassification",
    alpha=0.2,
    mix_mode="MODE",
    backbone=dict(type="ResNet_CIFAR", depth=18, num_stages=4, out_indices=(3,), style="pytorch"),
    head=dict(type="ClsHead", loss=dict(type="CrossEntropyLoss"), with_avg_pool=True, in_channels=512, num_classes=10),
)
source = dict(type="CIFAR10", root="data/cifar10/")
data = dict(
    imgs_per_gpu=100,
    workers_per_gpu=4,
    train=dict(type="ClassificationDataset", data_source=dict(split="train", **source), pipeline=[]),
    val=dict(type="ClassificationDataset", data_source=dict(split="test", **source), pipeline=[]),
)
optimizer = dict(type="SGD", lr=0.1)
lr_config = dict(policy="CosineAnnealing", min_lr=0.0)
runner = dict(type="EpochBasedRunner", max_epochs=200)
"""


@pytest.fixture
def old(tmp_path):
    def write(mode: str = "cutmix"):
        path = tmp_path / "old.py"
        path.write_text(OLD.replace("MODE", mode))
        return path

    return write


def run(capsys, *arguments) -> tuple[int, str, str]:
    try:
        code = run_command("convert", [str(a) for a in arguments])
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


class TestConfigs:
    def test_a_config_that_check_passes(self, old, tmp_path, capsys):
        new = tmp_path / "new" / "r18.py"
        code, out, err = run(capsys, old(), "-o", new)
        assert (code, err) == (0, "")
        assert out.endswith(f"wrote {new}\n")
        assert "renamed        data.imgs_per_gpu" in out and "kept           model.mix_mode" in out
        assert run_command("check", [str(new)]) == 0
        assert "no docstring" not in capsys.readouterr().out
        assert load_config(str(new)).model.alpha == 0.2

    def test_the_preset(self, old, tmp_path, capsys):
        assert run(capsys, old(), "-o", tmp_path / "new.py", "--preset", "openmixup")[0] == 0
        assert load_config(str(tmp_path / "new.py")).model.mix_args == {"cutmix": {"preset": "openmixup"}}

    def test_nothing_is_overwritten_unless_forced(self, old, tmp_path, capsys):
        new = tmp_path / "new.py"
        new.write_text("mine")
        code, out, err = run(capsys, old(), "-o", new)
        assert (code, out, err) == (2, "", f"error: {new} is there already; --force replaces it\n")
        assert new.read_text() == "mine"
        assert run(capsys, old(), "-o", new, "--force")[0] == 0
        assert new.read_text() != "mine"

    def test_the_old_file_is_not_replaced_by_itself(self, old, capsys):
        path = old()
        assert run(capsys, path, "-o", path)[0] == 2
        assert path.read_text() == OLD.replace("MODE", "cutmix")

    def test_a_method_that_openmix_lacks(self, old, tmp_path, capsys):
        code, out, err = run(capsys, old("nosuchmix"), "-o", tmp_path / "new.py")
        assert code == 2
        assert "refused        model.mix_mode" in out, "the report is shown all the same"
        assert err.startswith(
            f"error: {tmp_path}/old.py cannot be converted, and nothing was written:\nmodel.mix_mode: "
        )
        assert not (tmp_path / "new.py").exists()

    def test_a_config_that_would_not_pass(self, old, tmp_path, capsys):
        path = old()
        path.write_text(path.read_text().replace("num_classes=10", "num_classes=100"))
        code, _, err = run(capsys, path, "-o", tmp_path / "new.py")
        assert code == 2 and "as converted it is not right, and nothing was written" in err
        assert "num_classes=100, but train_dataloader's data set has 10" in err
        assert not (tmp_path / "new.py").exists()

    def test_it_is_a_subcommand(self, old, tmp_path, capsys):
        assert main(["convert", str(old()), "-o", str(tmp_path / "new.py")]) == 0


@pytest.fixture
def checkpoint(lab, tmp_path):
    config = lab.write(tmp_path)
    torch.manual_seed(0)
    state = build_task(load_config(config).model).state_dict()
    torch.save({"model": {key.removeprefix("backbone."): value for key, value in state.items()}}, tmp_path / "old.pth")
    return config, tmp_path / "old.pth", state


class TestCheckpoints:
    def test_a_checkpoint(self, checkpoint, tmp_path, capsys):
        config, old, state = checkpoint
        new = tmp_path / "new.safetensors"
        code, out, err = run(capsys, old, "-o", new, "--config", config)
        assert (code, err) == (0, "")
        assert out.startswith(f"{len(state)} tensors, ") and out.endswith(f"wrote {new}\n")

    def test_from_safetensors_to_pth(self, checkpoint, tmp_path, capsys):
        config, _, state = checkpoint
        save_file(dict(state), tmp_path / "old.safetensors")
        assert run(capsys, tmp_path / "old.safetensors", "-o", tmp_path / "new.pth", "--config", config)[0] == 0
        written = torch.load(tmp_path / "new.pth", weights_only=True)["state_dict"]
        assert all(torch.equal(written[key], value) for key, value in state.items())

    def test_code_in_it_is_not_run(self, checkpoint, tmp_path, capsys):
        witness = tmp_path / "executed"

        class Hostile:
            def __reduce__(self):
                return os.system, (f"touch {witness}",)

        torch.save({"state_dict": checkpoint[2], "extra": Hostile()}, tmp_path / "hostile.pth.tar")
        code, _, err = run(capsys, tmp_path / "hostile.pth.tar", "-o", tmp_path / "n.pth", "--config", checkpoint[0])
        assert code == 2 and "hostile.pth.tar is damaged, or not a file of tensors" in err
        assert not witness.exists() and not (tmp_path / "n.pth").exists()

    def test_nothing_is_overwritten_unless_forced(self, checkpoint, tmp_path, capsys):
        config, old, _ = checkpoint
        (tmp_path / "new.pth").write_text("mine")
        assert run(capsys, old, "-o", tmp_path / "new.pth", "--config", config)[0] == 2
        assert (tmp_path / "new.pth").read_text() == "mine"
        assert run(capsys, old, "-o", tmp_path / "new.pth", "--config", config, "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["old.pth", "-o", "new.pth"], "a checkpoint needs --config"),
        (["old.pth", "-o", "new.pth", "--config", "c.py", "--preset", "openmixup"], "--preset is for configs"),
        (["old.py", "-o", "new.py", "--config", "c.py"], "--config is for checkpoints"),
        (["old.py", "-o", "new.json"], "a config is written as .py, not as new.json"),
        (["none.py", "-o", "new.py"], "no config file none.py"),
        (["none.pth", "-o", "new.pth", "--config", "c.py"], "no file of weights none.pth"),
        (["old.py", "-o", "."], "error: . is there already\n"),
        (["old.py"], "the following arguments are required: -o/--out"),
        (["old.py", "-o", "/dev/null/new.py"], "cannot write /dev/null/new.py"),
    ],
)
def test_wrong_input(old, tmp_path, monkeypatch, capsys, arguments, message):
    old()
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2 and message in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.py"]
