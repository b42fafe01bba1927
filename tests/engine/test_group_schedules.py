"""Schedules that move the parameter groups of one name: against torch's own on two optimizers, and closed forms."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer, lr_scheduler

from openmix.data.timeline import Timeline
from openmix.engine.optim import Schedule, build_optimizer, load_optimizer_state
from openmix.engine.settings import OptimWrapper
from openmix.errors import UserError
from openmix.tasks import Task

PER_EPOCH, EPOCHS = 5, 6
STEPS = PER_EPOCH * EPOCHS


class TwoParts(Task):
    """A student and a mix block, each a group with a name."""

    names: tuple[str, str] | None = ("student", "mix_block")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.student, self.mix_block = nn.Linear(2, 2), nn.Linear(2, 1)

    def parameter_groups(self) -> list[dict[str, Any]]:
        parts = zip(self.names or (None, None), (self.student, self.mix_block), strict=True)
        return [{"params": list(part.parameters()), **({"name": name} if name else {})} for name, part in parts]


def take_step(optimizer: Optimizer, parts: nn.Module) -> list[dict[str, Any]]:
    """Return what the step's groups are, but for their parameters."""
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    optimizer.zero_grad()
    sum((p.square().sum() for p in parts.parameters()), torch.zeros(())).backward()
    optimizer.step()
    return groups


class Run:
    """Steps of an optimizer and its schedules, as the loop takes them."""

    def __init__(self, cfg, optimizer: dict[str, Any] | None = None, paramwise=None, start: int = 0) -> None:
        self.task = TwoParts()
        chosen = optimizer or {"type": "SGD", "lr": 1.0, "momentum": 0.9}
        self.optimizer = build_optimizer(OptimWrapper(chosen, paramwise), self.task)
        self.schedule = Schedule(cfg, self.optimizer, Timeline(((0, PER_EPOCH),)), EPOCHS, STEPS)
        self.schedule.fast_forward(start)
        self.step = start

    def go_on(self, until: int = STEPS) -> list[dict[str, Any]]:
        """Return what each step's groups are."""
        seen = []
        while self.step < until:
            seen.append(take_step(self.optimizer, self.task))
            self.step += 1
            self.schedule.after_step(self.step)
            if self.step % PER_EPOCH == 0:
                self.schedule.after_epoch(self.step // PER_EPOCH)
        return seen


def rates(seen, number: int, key: str = "lr") -> list[Any]:
    return [groups[number][key] for groups in seen]


def cosine(step: int, low: float) -> float:
    return low + (1 - low) * (1 + math.cos(math.pi * step / STEPS)) / 2


def both(student: dict[str, Any], mix_block: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**student, "group": "student"}, {**mix_block, "group": "mix_block"}]


def test_two_cosines_to_two_floors():
    """What the mix block's rate ends at is no business of the student's."""
    by_step = {"type": "CosineAnnealingLR", "by_epoch": False}
    seen = Run(both({**by_step, "eta_min": 0.0}, {**by_step, "eta_min": 0.1})).go_on()
    assert rates(seen, 0) == pytest.approx([cosine(step, 0.0) for step in range(STEPS)])
    assert rates(seen, 1) == pytest.approx([cosine(step, 0.1) for step in range(STEPS)])


def test_the_others_are_left_alone():
    seen = Run({"type": "ExponentialLR", "gamma": 0.5, "group": "mix_block"}).go_on()
    assert rates(seen, 0) == [1.0] * STEPS
    assert rates(seen, 1) == [0.5 ** (step // PER_EPOCH) for step in range(STEPS)]


@pytest.mark.parametrize("group", [{}, {"group": None}])
def test_without_a_name_all_are_moved(group):
    seen = Run({"type": "ExponentialLR", "gamma": 0.5, **group}).go_on()
    assert rates(seen, 0) == rates(seen, 1) == [0.5 ** (step // PER_EPOCH) for step in range(STEPS)]


OWN = {
    "CosineAnnealingLR": {"T_max": STEPS, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 7, "T_mult": 2},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.7, "step_size_up": 4, "base_momentum": 0.6, "max_momentum": 0.8},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {"start_factor": 0.1, "total_iters": 9},
    "MultiStepLR": {"milestones": [3, 11], "gamma": 0.3},
    "OneCycleLR": {"max_lr": 2.0, "total_steps": STEPS, "base_momentum": 0.7},
    "PolynomialLR": {"total_iters": 20, "power": 2.0},
}
OPTIMIZERS = {
    "SGD": ({"lr": 0.5, "momentum": 0.9, "nesterov": True, "fused": True}, SGD, "momentum"),
    "AdamW": ({"lr": 0.5, "betas": (0.9, 0.99), "fused": True}, AdamW, "betas"),
}


def alone(kind: str, part: nn.Module, optimizer: Optimizer) -> list[dict[str, Any]]:
    """A part with an optimizer and a scheduler of torch's of its own."""
    scheduler, seen = getattr(lr_scheduler, kind)(optimizer, **OWN[kind]), []
    for _ in range(STEPS):
        seen.append(take_step(optimizer, part))
        scheduler.step()
    return seen


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("pair", list(zip(OWN, [*list(OWN)[3:], *list(OWN)[:3]], strict=True)), ids="-".join)
def test_two_schedules_are_those_of_two_optimizers(pair, name):
    """To the last bit, what they make of momentum and of the weights as well."""
    options, kind, momentum = OPTIMIZERS[name]
    cfg = both(*({"type": one, "by_epoch": False, **OWN[one]} for one in pair))
    run, task = Run(cfg, {"type": name, **options}), TwoParts()
    seen = run.go_on()
    for number, part in enumerate((task.student, task.mix_block)):
        expected = alone(pair[number], part, kind(part.parameters(), **options))
        for key in ("lr", momentum):
            assert rates(seen, number, key) == rates(expected, 0, key)
        assert len(set(rates(seen, number))) > 2
    assert all(torch.equal(p, q) for p, q in zip(run.task.parameters(), task.parameters(), strict=True))


RESUMED = {
    "floors": both({"type": "CosineAnnealingLR"}, {"type": "CosineAnnealingLR", "eta_min": 0.1}),
    "one cycle": both({"type": "OneCycleLR", "max_lr": 1.0, "by_epoch": False}, {"type": "StepLR", "step_size": 2}),
    "a late one": both(
        {"type": "PiecewiseLinearLR", "knots": [(0, 0.0), (4, 1.0), (6, 0.0)], "convert_to_iter_based": True},
        {"type": "CosineAnnealingLR", "begin": 3, "convert_to_iter_based": True},
    ),
    "warm-up of all": [
        {"type": "LinearLR", "start_factor": 0.1, "end": 8, "by_epoch": False},
        *both({"type": "ExponentialLR", "gamma": 0.5}, {"type": "ConstantLR", "factor": 0.2, "begin": 2}),
    ],
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_run_goes_on_exactly(name):
    """From every step, to the last bit: restoring an optimizer's state gives it new groups, which then are moved."""
    whole = Run(RESUMED[name]).go_on()
    before = Run(RESUMED[name])
    for step in range(STEPS):
        before.go_on(step)
        resumed = Run(RESUMED[name], start=step)
        load_optimizer_state(resumed.optimizer, before.optimizer.state_dict())
        assert resumed.go_on() == whole[step:]


def test_a_divided_group_keeps_its_name():
    """All of its parts are moved, each from a rate of its own."""
    paramwise = {"custom_keys": {"mix_block.weight": {"lr_mult": 3.0}, "bias": {"decay_mult": 0.0}}}
    cfg = {"type": "OneCycleLR", "max_lr": 1.0, "by_epoch": False, "group": "mix_block"}
    run = Run(cfg, paramwise=paramwise)
    assert [g["name"] for g in run.optimizer.param_groups] == ["student"] * 2 + ["mix_block"] * 2
    seen = run.go_on()
    assert rates(seen, 0) == rates(seen, 1) == [1.0] * STEPS
    assert max(rates(seen, 2)) == pytest.approx(3 * max(rates(seen, 3))) == pytest.approx(3.0, rel=1e-2)


class TestNames:
    def test_one_that_there_is_not(self):
        with pytest.raises(UserError, match=r"group='mixblock', but this task's .* are named 'student', 'mix_block'"):
            Run({"type": "ExponentialLR", "gamma": 0.5, "group": "mixblock"})

    def test_of_a_task_without_any(self, monkeypatch):
        monkeypatch.setattr(TwoParts, "names", None)
        with pytest.raises(UserError, match="group='student', but this task's parameter groups have no names"):
            Run({"type": "ExponentialLR", "gamma": 0.5, "group": "student"})

    @pytest.mark.parametrize("old", [None, ("teacher", "other")])
    @pytest.mark.parametrize("new", [None, ("student", "mix_block")])
    def test_they_are_no_state(self, monkeypatch, old, new):
        """A checkpoint of before groups had names, or other ones, is continued; they are those of now."""
        monkeypatch.setattr(TwoParts, "names", old)
        before = Run(None)
        before.go_on(3)
        monkeypatch.setattr(TwoParts, "names", new)
        now = Run(None)
        load_optimizer_state(now.optimizer, before.optimizer.state_dict())
        assert [group.get("name") for group in now.optimizer.param_groups] == list(new or (None, None))
        one, other = before.optimizer.state_dict()["state"], now.optimizer.state_dict()["state"]
        assert all(torch.equal(one[k]["momentum_buffer"], other[k]["momentum_buffer"]) for k in range(4))

    def test_what_a_schedule_left_in_a_checkpoint_is_no_state(self):
        """Else one that begins later would begin from the rate of the run before."""
        before, late = Run({"type": "ConstantLR"}), {"type": "ConstantLR", "factor": 0.5, "begin": 1}
        before.go_on(3)
        now = Run(late, {"type": "SGD", "lr": 8.0, "momentum": 0.9}, start=3)
        load_optimizer_state(now.optimizer, before.optimizer.state_dict())
        assert rates(now.go_on(PER_EPOCH + 1), 0) == [8.0, 8.0, 4.0]
