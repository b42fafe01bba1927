"""Schedules follow their formulas over their spans, and can be brought to any step."""

import math

import pytest
import torch
from torch import nn

from openmix.data.timeline import Timeline
from openmix.engine.optim import Schedule, build_optimizer, load_optimizer_state
from openmix.engine.settings import OptimWrapper
from openmix.errors import UserError
from openmix.tasks import Task

PER_EPOCH, EPOCHS = 5, 6
STEPS = PER_EPOCH * EPOCHS


class OneLayer(Task):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


def rates(cfg, lr=1.0, fast_forward=0) -> list[float]:
    """The learning rate of every step of a run, from step ``fast_forward`` on."""
    optimizer = build_optimizer(OptimWrapper({"type": "SGD", "lr": lr}), OneLayer())
    schedule = Schedule(cfg, optimizer, Timeline(((0, PER_EPOCH),)), EPOCHS, STEPS)
    schedule.fast_forward(fast_forward)
    seen = []
    for step in range(fast_forward, STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.after_step(step + 1)
        if (step + 1) % PER_EPOCH == 0:
            schedule.after_epoch((step + 1) // PER_EPOCH)
    return seen


COSINE = {"type": "CosineAnnealingLR", "eta_min": 0.1}
WARM_UP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 10}
SCHEDULES = {
    "none": None,
    "cosine by epoch": COSINE,
    "cosine by step": {**COSINE, "by_epoch": False},
    "warm-up, then cosine": [WARM_UP, {**COSINE, "by_epoch": False, "begin": 10}],
    "warm-up over a cosine": [WARM_UP, COSINE],
    "steps": {"type": "MultiStepLR", "milestones": [2, 4], "gamma": 0.1},
    "in the middle only": {"type": "ExponentialLR", "gamma": 0.5, "begin": 2, "end": 4},
    "one cycle": {"type": "OneCycleLR", "max_lr": 1.0, "by_epoch": False},
    "polynomial": {"type": "PolynomialLR", "power": 2.0, "by_epoch": False},
}


def cosine(done: float, length: float, low: float = 0.1) -> float:
    return low + (1 - low) * (1 + math.cos(math.pi * done / length)) / 2


FORMULAS = {
    "none": lambda step: 1.0,
    "cosine by epoch": lambda step: cosine(step // PER_EPOCH, EPOCHS),
    "cosine by step": lambda step: cosine(step, STEPS),
    "warm-up, then cosine": lambda s: 0.1 + 0.9 * s / 10 if s < 10 else cosine(s - 10, STEPS - 10),
    "steps": lambda step: 0.1 ** sum(step // PER_EPOCH >= m for m in (2, 4)),
    "in the middle only": lambda step: 0.5 ** min(max(step // PER_EPOCH - 2, 0), 2),
    "polynomial": lambda step: (1 - step / STEPS) ** 2,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_rates_follow_the_formula(name):
    assert rates(SCHEDULES[name]) == pytest.approx([FORMULAS[name](step) for step in range(STEPS)])


@pytest.mark.parametrize("name", SCHEDULES)
def test_fast_forward_is_exact(name):
    """At every step, the ends of epochs among them, to the last bit, without a warning of torch's."""
    whole = rates(SCHEDULES[name])
    for step in range(STEPS):
        assert rates(SCHEDULES[name], fast_forward=step) == whole[step:]


def test_a_span_ends_where_it_says():
    """By the end of its span a cosine is down, and stays there."""
    seen = rates({**COSINE, "end": 3})
    assert seen[3 * PER_EPOCH :] == pytest.approx([0.1] * (STEPS - 3 * PER_EPOCH))


def test_a_span_that_the_run_does_not_reach():
    assert rates({**COSINE, "begin": 50}) == [1.0] * STEPS


@pytest.mark.parametrize("span", [{"begin": 3, "end": 3}, {"begin": -1}, {"begin": 5, "end": 2}])
def test_wrong_spans(span):
    with pytest.raises(UserError, match="must lie before end"):
        rates({**COSINE, **span})


class TestOptimizerState:
    def trained(self, cfg, steps=3):
        torch.manual_seed(0)
        task = OneLayer()
        optimizer = build_optimizer(OptimWrapper(cfg), task)
        for _ in range(steps):
            task.layer(torch.ones(1, 2)).sum().backward()
            optimizer.step()
        return optimizer

    def test_gathered_state_is_restored_and_hyper_parameters_are_not(self):
        before = self.trained({"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.5})
        now = self.trained({"type": "SGD", "lr": 0.2, "momentum": 0.8, "weight_decay": 0.0}, steps=0)
        load_optimizer_state(now, before.state_dict())
        group = now.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.2, 0.8, 0.0)
        buffers = [[o.state[p]["momentum_buffer"] for p in o.param_groups[0]["params"]] for o in (before, now)]
        assert all(torch.equal(a, b) and a.any() for a, b in zip(*buffers, strict=True))

    def test_steps_counted_in_the_groups_are_restored(self):
        cfg = {"type": "Lamb", "lr": 0.1}
        now = self.trained(cfg, steps=0)
        load_optimizer_state(now, self.trained(cfg).state_dict())
        assert now.param_groups[0]["step"] == 3

    @pytest.mark.parametrize("cfg", [{"type": "AdamW", "lr": 0.1}, {"type": "RMSprop", "lr": 0.1}])
    def test_another_kind_is_refused(self, cfg):
        state = self.trained({"type": "SGD", "lr": 0.1}).state_dict()
        with pytest.raises(UserError, match=f"another optimizer than this config's {cfg['type']}"):
            load_optimizer_state(self.trained(cfg), state)

    @pytest.mark.parametrize(
        "name", ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "ASGD", "Adagrad", "Adadelta",
                 "Adafactor", "Lamb", "Lars", "Adan", "Lion", "MADGRAD", "AdaBelief", "Adopt"]
    )  # fmt: skip
    @pytest.mark.parametrize("steps", [1, 3])
    def test_what_an_optimizer_has_gathered_fits_it(self, name, steps):
        before, now = self.trained({"type": name, "lr": 0.1}, steps), self.trained({"type": name, "lr": 0.1}, steps=0)
        load_optimizer_state(now, before.state_dict())
        one, other = before.state_dict(), now.state_dict()
        assert one["state"].keys() == other["state"].keys()
        for key in one["state"]:
            for value, same in zip(one["state"][key].values(), other["state"][key].values(), strict=True):
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(same)) if value is not None else same is None

    def test_momentum_may_be_new(self):
        now = self.trained({"type": "SGD", "lr": 0.1, "momentum": 0.9}, steps=0)
        load_optimizer_state(now, self.trained({"type": "SGD", "lr": 0.1}).state_dict())
        assert not any(one["momentum_buffer"].any() for one in now.state_dict()["state"].values())

    @pytest.mark.parametrize(
        ("name", "value"),
        [("exp_avg", None), ("exp_avg", torch.zeros(3)), ("exp_avg", torch.full((2, 2), float("nan"))), ("step", "x"),
         ("exp_avg", torch.zeros(2, 2, dtype=torch.complex64)), ("exp_avg", torch.zeros(2, 2).to_sparse()),
         ("exp_avg_sq", torch.zeros(()).expand(2, 2)), ("step", torch.tensor(-1.0)), ("step", float("inf"))],
    )  # fmt: skip
    def test_what_no_optimizer_gathers_is_refused(self, name, value):
        state = self.trained({"type": "AdamW", "lr": 0.1}).state_dict()
        state["state"][0][name] = value
        with pytest.raises(UserError, match=f"the checkpoint's '{name}' of parameter 0 is .*, expected"):
            load_optimizer_state(self.trained({"type": "AdamW", "lr": 0.1}, steps=0), state)

    def test_other_parameters_are_refused(self):
        optimizer = self.trained({"type": "SGD", "lr": 0.1})
        state = optimizer.state_dict()
        state["param_groups"][0]["params"] = [0]
        with pytest.raises(UserError, match="another optimizer"):
            load_optimizer_state(optimizer, state)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Lamb", "Adan"])
def test_optimizers_of_torch_and_timm_can_be_named(name):
    assert type(build_optimizer(OptimWrapper({"type": name, "lr": 0.1}), OneLayer())).__name__ == name


def test_what_an_optimizer_gathers_of_no_single_parameter_is_kept():
    """Some keep a count of their own in the state, beside those of the parameters."""
    from openmix.engine.content import unfit_value

    class Clocked(torch.optim.SGD):
        def step(self, closure=None):
            super().step()
            self.state["clock"] = self.state.get("clock", 0) + 1

    def made() -> Clocked:
        weight = nn.Parameter(torch.ones(3))
        weight.grad = torch.ones(3)
        return Clocked([weight], lr=0.1, momentum=0.9)

    optimizer, other = made(), made()
    optimizer.step()
    state = optimizer.state_dict()
    assert unfit_value({"optimizer": state}) == ""
    load_optimizer_state(other, state)
    assert other.state["clock"] == 1
    assert torch.equal(other.state_dict()["state"][0]["momentum_buffer"], torch.ones(3))


class TestFused:
    """One kernel for all parameters, wherever there is one and nobody asks for another way."""

    @pytest.mark.parametrize(
        ("optimizer", "fused"),
        [
            ({"type": "SGD", "lr": 0.1}, True),
            ({"type": "AdamW"}, True),
            ({"type": "Adam", "fused": False}, False),
            ({"type": "SGD", "lr": 0.1, "foreach": True}, None),
            ({"type": "RMSprop"}, None),
            ({"type": "LARS", "lr": 0.1}, None),
        ],
    )
    def test_who_is(self, optimizer, fused):
        built = build_optimizer(OptimWrapper(optimizer), OneLayer())
        assert built.param_groups[0].get("fused") is fused or (fused is None and not built.param_groups[0].get("fused"))

    def test_not_where_tensors_hold_nothing(self):
        assert not build_optimizer(OptimWrapper({"type": "SGD", "lr": 0.1}), OneLayer().to("meta")).defaults["fused"]

    @pytest.mark.parametrize(
        "optimizer", [{"type": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True}, {"type": "AdamW"}]
    )
    def test_it_computes_the_same(self, optimizer):
        ends = []
        for way in ({}, {"fused": False}):
            torch.manual_seed(0)
            task = OneLayer()
            built = build_optimizer(OptimWrapper({**optimizer, **way, "weight_decay": 0.1}), task)
            for seed in range(4):
                for p in task.parameters():
                    p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(seed))
                built.step()
            ends.append([p.detach().clone() for p in task.parameters()])
        torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-7)

    def test_momentum_is_laid_as_its_weight_is(self):
        """A fused kernel walks through memory: momentum in another order would go to other weights, without a word."""

        class Conv(Task):
            def __init__(self) -> None:
                super().__init__()
                torch.manual_seed(0)
                self.conv = nn.Conv2d(3, 4, 3, bias=False)

        def step(task, optimizer):
            task.conv.weight.grad = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(7)).to(
                memory_format=torch.channels_last if task.conv.weight.stride(1) == 1 else torch.contiguous_format
            )
            optimizer.step()

        cfg = OptimWrapper({"type": "SGD", "lr": 0.1, "momentum": 0.9})
        first = Conv()
        before = build_optimizer(cfg, first)
        step(first, before)
        after = Conv().to(memory_format=torch.channels_last)
        after.load_state_dict(first.state_dict())
        resumed = build_optimizer(cfg, after)
        load_optimizer_state(resumed, before.state_dict())
        assert resumed.state[after.conv.weight]["momentum_buffer"].stride() == after.conv.weight.stride()
        step(first, before)
        step(after, resumed)
        torch.testing.assert_close(first.conv.weight, after.conv.weight, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("options", [{}, {"nesterov": True}, {"dampening": 0.5}])
    def test_a_gradient_that_comes_late(self, options):
        """As of a layer that is thawed: torch's fused SGD would end with a TypeError."""
        ends = []
        for way in ({}, {"fused": False}):
            torch.manual_seed(0)
            task = OneLayer()
            cfg = {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, **options, **way}
            optimizer = build_optimizer(OptimWrapper(cfg), task)
            for step in range(4):
                task.layer.weight.grad = torch.full((2, 2), float(step + 1))
                task.layer.bias.grad = torch.ones(2) if step > 1 else None
                optimizer.step()
            ends.append([p.detach().clone() for p in task.parameters()])
        torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-7)

    def test_a_checkpoint_with_momentum_of_some_only(self):
        cfg = OptimWrapper({"type": "SGD", "lr": 0.1, "momentum": 0.9})
        before, task = torch.optim.SGD(OneLayer().parameters(), lr=0.1, momentum=0.9), OneLayer()
        before.param_groups[0]["params"][0].grad = torch.ones(2, 2)
        before.step()
        optimizer = build_optimizer(cfg, task)
        load_optimizer_state(optimizer, before.state_dict())
        for p in task.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        assert torch.equal(optimizer.state[task.layer.weight]["momentum_buffer"], torch.full((2, 2), 1.9))
        assert torch.equal(optimizer.state[task.layer.bias]["momentum_buffer"], torch.ones(2))

    def test_not_through_gaps_in_memory(self):
        task = OneLayer()
        task.layer.weight = nn.Parameter(torch.rand(2, 4)[:, ::2])
        assert not build_optimizer(OptimWrapper({"type": "SGD", "lr": 0.1}), task).defaults["fused"]
