"""The flag --deterministic, and golden figures that runs reach without it."""

import math

import pytest
import torch
from torch import nn

from openmix.commands import run_command
from openmix.engine.deterministic import deterministic_algorithms
from openmix.errors import UserError
from openmix.registry import MODELS

# of 12 steps of the tests' tiny run: the losses of its records, by an earlier version on another day. Other processors
# and versions round otherwise, draws that changed would be far off.
GOLDEN = {4: 2.31454, 6: 2.32955, 8: 2.34228, 12: 2.33457}


def losses(lab, run):
    return {r["step"]: r["loss"] for r in lab.records(run) if r["split"] == "train"}


def test_golden_losses(lab, tmp_path):
    lab.train(lab.write(tmp_path), tmp_path / "run")
    found = losses(lab, tmp_path / "run")
    assert found.keys() == GOLDEN.keys()
    assert all(math.isclose(found[step], GOLDEN[step], abs_tol=2e-3) for step in GOLDEN), found


def test_two_runs_with_the_flag_are_equal_and_on_a_cpu_equal_to_those_without(lab, tmp_path):
    path = lab.write(tmp_path)
    for name, options in {"one": ["--deterministic"], "two": ["--deterministic"], "without": []}.items():
        assert run_command("train", [path, "--work-dir", str(tmp_path / name), *options]) == 0
    lab.assert_same_run(tmp_path / "one", tmp_path / "two")
    lab.assert_same_run(tmp_path / "one", tmp_path / "without")
    assert "'deterministic': True" in (tmp_path / "one" / "config.py").read_text()
    assert not torch.are_deterministic_algorithms_enabled(), "the process is as it was"


class Watch(nn.Module):
    """Tells what it was run under; or does what torch cannot do deterministically, by its own message."""

    seen: list[bool]

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.conv, self.fails = nn.Conv2d(1, 4, 1), fails

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if torch.is_grad_enabled() and images.device.type == "cpu" and len(images) == 8:  # not while it is checked
            Watch.seen.append(torch.are_deterministic_algorithms_enabled())
        if self.fails and len(images) == 8:
            raise RuntimeError(
                "put_ does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms"
            )
        return (self.conv(images),)


@pytest.fixture
def watch():
    MODELS.register_module(module=Watch)
    Watch.seen = []
    yield Watch
    MODELS.module_dict.pop("Watch")


@pytest.mark.parametrize("wanted", [False, True])
def test_it_holds_throughout_the_run(lab, tmp_path, watch, wanted):
    path = lab.write(
        tmp_path, model={"backbone": {"type": "Watch"}, "head": {"in_channels": 4}}, train_cfg={"max_epochs": 1}
    )
    lab.train(path, tmp_path / "run", randomness__deterministic=wanted)
    assert set(watch.seen) == {wanted}


def test_an_operation_without_an_algorithm_is_named(lab, tmp_path, watch, capsys):
    backbone = {"type": "Watch", "fails": True}
    path = lab.write(tmp_path, model={"backbone": backbone, "head": {"in_channels": 4}})
    assert run_command("train", [path, "--work-dir", str(tmp_path / "run"), "--deterministic"]) == 2
    said = capsys.readouterr().err
    assert said == ("error: --deterministic: put_ does not have a deterministic implementation; leave the option out\n")


@pytest.mark.gpu
def test_torch_says_what_is_looked_for():
    """An operation that truly has none, as there is on GPUs: torch's message is still the one that is recognised."""
    with pytest.raises(UserError, match="does not have a deterministic implementation"), deterministic_algorithms(True):
        torch.zeros(3, device="cuda").put_(torch.tensor([0], device="cuda"), torch.ones(1, device="cuda"))


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match=r"^other$"), deterministic_algorithms(True):
        raise RuntimeError("other")
    assert not torch.are_deterministic_algorithms_enabled()
