"""Guided methods in whole runs: on several processes, resumed, tried out and tested without the guide's own file."""

import pytest
import torch
from torch import nn

from openmix.commands import run_command
from openmix.models import ConvNet

GUIDED = {"mix_mode": ["rmix", "cutmix"], "clean_weight": 0.5, "mix_args": {"rmix": {"patches": [2, 4]}}}
VIT = {
    "type": "TimmBackbone",
    "name": "vit_tiny_patch16_224",
    "img_size": 8,
    "in_channels": 1,
    "model_args": {"patch_size": 4, "embed_dim": 12, "depth": 2, "num_heads": 3},
}
TOP = {"attentivemix": {"top_k": 2}}
EMA = {**GUIDED, "guide": {"type": "EMAGuide", "momentum": 0.3}, "clean_weight": 0.0}


@pytest.fixture
def frozen(tmp_path):
    """A config's guide, and the file that it loads."""
    torch.manual_seed(0)
    torch.save(ConvNet((4,), in_channels=1).state_dict(), tmp_path / "guide.pth")
    return {
        "type": "FrozenGuide",
        "backbone": {"type": "ConvNet", "widths": [4], "in_channels": 1},
        "checkpoint": str(tmp_path / "guide.pth"),
        "size": 16,
    }


@pytest.mark.parametrize("model", [GUIDED, {**GUIDED, "guide_pass": "eval"}, EMA], ids=["clean term", "eval", "ema"])
def test_two_processes_equal_one_that_accumulates_two(lab, ranks, tmp_path, model):
    """Bit for bit, saliency included: where it differed, masks, labels and losses would.

    On a network without BatchNorm, whose running statistics are those of rank 0's micro-batches.
    """
    path = lab.write(tmp_path, model={**model, "backbone": VIT}, train_dataloader={"batch_size": 4})
    ranks(2, "train_config", config=path, overrides={"work_dir": str(tmp_path / "two")})
    lab.train(path, tmp_path / "one", optim_wrapper__accumulative_counts=2)
    two, one = (lab.state(tmp_path / name) for name in ("two", "one"))
    for key in ("model", "optimizer"):
        assert lab.differences(two[key], one[key]) == []


@pytest.mark.parametrize("model", [GUIDED, EMA], ids=["clean term", "ema"])
def test_a_resumed_run_is_the_same(lab, tmp_path, model):
    path = lab.write(tmp_path, model=model)
    lab.train(path, tmp_path / "whole")
    lab.train(path, tmp_path / "cut", stop_after=5)
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_the_average_is_in_checkpoints(lab, tmp_path):
    path = lab.write(tmp_path, model=EMA)
    lab.train(path, tmp_path / "run")
    state = lab.state(tmp_path / "run")["model"]
    ours, averaged = state["head.fc.weight"], state["guide.average.2.fc.weight"]
    assert not torch.equal(ours, averaged)


def test_a_guides_file_is_needed_to_begin_and_not_to_test(lab, tmp_path, frozen, capsys):
    model = {"mix_mode": "attentivemix", "guide": frozen}
    path = lab.write(tmp_path, model=model)
    lab.train(path, tmp_path / "run")
    (tmp_path / "guide.pth").unlink()
    checkpoint = str(tmp_path / "run" / "checkpoints" / "last.pth")
    assert run_command("test", [path, checkpoint]) == 0
    assert run_command("train", [path, "--work-dir", str(tmp_path / "again")]) == 2
    assert f"FrozenGuide: no file of weights {tmp_path / 'guide.pth'}" in capsys.readouterr().err
    assert not (tmp_path / "again" / "run.json").exists()


def test_a_resumed_run_does_not_look_for_the_guides_file(lab, tmp_path, frozen):
    path = lab.write(tmp_path, model={"mix_mode": "attentivemix", "guide": frozen, "mix_args": TOP})
    lab.train(path, tmp_path / "whole")
    lab.train(path, tmp_path / "cut", stop_after=5)
    (tmp_path / "guide.pth").unlink()
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_weights_to_begin_with_leave_the_guide_its_own(lab, tmp_path, frozen):
    """And an average begins as the weights that the run begins with."""
    first = lab.write(tmp_path, "first", model={"mix_mode": "attentivemix", "guide": frozen, "mix_args": TOP})
    lab.train(first, tmp_path / "first")
    begin = str(tmp_path / "first" / "checkpoints" / "last.pth")
    torch.manual_seed(1)
    torch.save(ConvNet((4,), in_channels=1).state_dict(), tmp_path / "guide.pth")
    model = {"mix_mode": "attentivemix", "guide": frozen, "mix_args": TOP}
    lab.train(lab.write(tmp_path, "second", model=model, load_from=begin), tmp_path / "second")
    state = lab.state(tmp_path / "second")["model"]
    wanted = torch.load(tmp_path / "guide.pth")
    assert all(torch.equal(state[f"guide.backbone.{key}"], value) for key, value in wanted.items())

    model = {**EMA, "guide": {"type": "EMAGuide", "momentum": 1e-6}}
    lab.train(lab.write(tmp_path, "third", model=model, load_from=begin), tmp_path / "third")
    average = lab.state(tmp_path / "third")["model"]["guide.average.2.fc.weight"]
    torch.testing.assert_close(average, lab.state(tmp_path / "first")["model"]["head.fc.weight"], rtol=1e-3, atol=1e-4)


def test_an_agent_begins_anew(lab, tmp_path):
    lab.train(lab.write(tmp_path), tmp_path / "plain")
    begin = str(tmp_path / "plain" / "checkpoints" / "last.pth")
    path = tmp_path / "rlmix.py"
    path.write_text(
        '"""RL-Mix from weights."""\n_base_ = "./tiny.py"\n'
        'model = dict(_delete_=True, type="RLMixClassification", batch_size=8, n_steps=4, minibatch=2,\n'
        '    backbone=dict(type="ConvNet", widths=[4, 8], in_channels=1),\n'
        '    head=dict(type="ClsMixupHead", num_classes=10))\n'
        f"load_from = {begin!r}\n"
    )
    lab.train(str(path), tmp_path / "rlmix")


def test_what_the_first_step_would_refuse_is_told_by_check(lab, tmp_path, capsys):
    for name, model, message in (
        ("top_k", {"mix_mode": "attentivemix", "mix_args": {"attentivemix": {"top_k": 40}}}, "top_k must be at most"),
        ("patches", {"mix_mode": "rmix", "mix_args": {"rmix": {"patches": [16]}}}, "16 patches a side"),
    ):
        assert run_command("check", [lab.write(tmp_path, name, model=model)]) == 2
        assert message in capsys.readouterr().out


def test_a_network_without_the_guide_takes_the_checkpoint(lab, tmp_path, frozen):
    """And the other way round: a guide begins with weights of its own."""
    lab.train(lab.write(tmp_path, model={"mix_mode": "attentivemix", "guide": frozen}), tmp_path / "run")
    checkpoint = str(tmp_path / "run" / "checkpoints" / "last.pth")
    plain = lab.write(tmp_path, "plain", load_from=checkpoint)
    lab.train(plain, tmp_path / "plain")
    guided = lab.write(tmp_path, "guided", model=EMA, load_from=str(tmp_path / "plain" / "checkpoints" / "last.pth"))
    lab.train(guided, tmp_path / "guided")


def test_a_trial_loads_no_weights(lab, tmp_path, frozen, monkeypatch):
    """Not timm's either, which would be downloaded: a machine without a network can try every config."""
    backbone = {"type": "TimmBackbone", "name": "resnet18", "pretrained": True, "in_channels": 1}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = lab.write(
        tmp_path, model={"mix_mode": "attentivemix", "guide": {**frozen, "backbone": backbone, "size": 96}}
    )
    (tmp_path / "guide.pth").write_bytes(b"no weights")
    assert run_command("check", [path, "--dry-run"]) == 0


@pytest.mark.parametrize(
    ("guide", "message"),
    [
        ({"type": "EMAGuid"}, "did you mean 'EMAGuide'"),
        ({"type": "EMAGuide", "momentun": 0.1}, "model.guide.momentun: EMAGuide takes no 'momentun'"),
        ({"type": "EMAGuide", "momentum": 2.0}, "momentum must be in (0, 1), got 2.0"),
        ("ema", "model.guide"),
    ],
)
def test_wrong_guides_are_told(lab, tmp_path, capsys, guide, message):
    path = lab.write(tmp_path, model={"mix_mode": "rmix", "guide": guide})
    assert run_command("check", [path]) == 2
    assert message in capsys.readouterr().out


def test_a_need_that_cannot_be_served_is_told_before_data_are_touched(lab, tmp_path, capsys):
    path = lab.write(tmp_path, model={"mix_mode": "transmix"})
    assert run_command("check", [path]) == 2
    assert "transmix needs what cannot be had of ConvNet" in capsys.readouterr().out


@pytest.mark.parametrize("model", [GUIDED, {"mix_mode": "transmix", "backbone": VIT}], ids=["rmix", "transmix"])
def test_compiled_networks_serve_alike(lab, tmp_path, monkeypatch, model):
    """The passes for the needs go through the compiled network; hooks for attention are in it from the start."""

    def compile_eagerly(module: nn.Module) -> None:
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_eagerly)
    path = lab.write(tmp_path, model=model, train_cfg={"max_epochs": 1})
    lab.train(path, tmp_path / "plain")
    lab.train(path, tmp_path / "compiled", train_cfg__compile=True)
    lab.assert_same_run(tmp_path / "plain", tmp_path / "compiled")
    torch._dynamo.reset()


@pytest.mark.parametrize("model", [GUIDED, EMA], ids=["clean term", "ema"])
def test_half_precision(lab, tmp_path, model):
    """The same run within what bfloat16 keeps of a number; no pass leaves weights behind that are not trained."""
    path = lab.write(tmp_path, model=model, train_cfg={"max_epochs": 1})
    lab.train(path, tmp_path / "full")
    lab.train(path, tmp_path / "half", optim_wrapper__amp="bf16")
    states = [lab.state(tmp_path / name)["model"] for name in ("full", "half")]
    weights = [k for k in states[0] if k.endswith("weight") and not k.startswith("guide.")]
    begin = initial_weights(path, tmp_path)
    for key in weights:
        moved = states[0][key] - begin[key]
        difference = (states[1][key] - states[0][key]).norm()
        assert float(moved.norm()) > 0
        assert float(difference) < 0.5 * float(moved.norm()), key


def initial_weights(path, tmp_path):
    """What the run begins with."""
    from openmix.engine.build import initialise
    from openmix.engine.config import load_config

    return initialise(load_config(path, {"work_dir": str(tmp_path)}), torch.device("cpu")).state_dict()
