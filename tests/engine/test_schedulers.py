"""The seeds' schedules, at the steps and with the figures that their teardowns measured."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from openmix.data.timeline import Timeline
from openmix.engine.optim import Schedule, build_optimizer
from openmix.engine.schedulers import PiecewiseLinearLR
from openmix.engine.settings import OptimWrapper
from openmix.errors import UserError
from openmix.tasks import Task


class OneLayer(Task):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)


def rates(cfg, line: Timeline, epochs: int, lr: float, start: int = 0, steps: int | None = None, key: str = "lr"):
    """Rates of ``steps`` steps from step ``start`` on, which is reached as a resumed run reaches it."""
    optimizer = build_optimizer(OptimWrapper({"type": "SGD", "lr": lr, "momentum": 0.9}), OneLayer())
    schedule = Schedule(cfg, optimizer, line, epochs, line.start_of(epochs))
    schedule.fast_forward(start)
    seen = []
    for step in range(start, line.start_of(epochs) if steps is None else start + steps):
        seen.append(optimizer.param_groups[0][key])
        optimizer.step()
        schedule.after_step(step + 1)
        if step + 1 == line.start_of(line.epoch_of(step) + 1):
            schedule.after_epoch(line.epoch_of(step) + 1)
    return seen


RESIZEMIX = [
    {"type": "LinearLR", "start_factor": 1e-5 / 0.2, "end": 5, "convert_to_iter_based": True},
    {"type": "CosineAnnealingLR", "eta_min": 1e-5, "begin": 5, "convert_to_iter_based": True},
]


def resizemix_rate(step: int, warm: int = 975, total: int = 39_000, peak: float = 0.2, low: float = 1e-5) -> float:
    if step < warm:
        return low + (peak - low) * step / warm
    return low + (peak - low) * (1 + math.cos(math.pi * (step - warm) / (total - warm))) / 2


@pytest.mark.parametrize("start", [0, 974, 975, 976, 19_500, 38_990])
def test_resizemix_wide_resnet(start):
    seen = rates(RESIZEMIX, Timeline(((0, 195),)), 200, 0.2, start, 10)
    assert seen == pytest.approx([resizemix_rate(step) for step in range(start, start + 10)], rel=1e-9)


def test_resizemix_figures_of_the_notes():
    line = Timeline(((0, 195),))
    assert rates(RESIZEMIX, line, 200, 0.2, 0, 1) == pytest.approx([1e-5])
    assert rates(RESIZEMIX, line, 200, 0.2, 975, 1) == pytest.approx([0.2])
    assert rates(RESIZEMIX, line, 200, 0.2, 19_500, 1) == pytest.approx([0.1040], abs=5e-5)  # epoch 100


ONE_CYCLE = {
    "type": "OneCycleLR", "max_lr": 0.29947526988779305, "pct_start": 0.3, "div_factor": 100,
    "final_div_factor": 10000, "by_epoch": False,
}  # fmt: skip


@pytest.mark.parametrize("key", ["lr", "momentum"])
def test_rmix_one_cycle(key):
    line = Timeline(((0, 500),))
    expected = {"lr": [0.0029948, 0.29947526988779305, 2.99e-7], "momentum": [0.95, 0.85, 0.95]}[key]
    # the 45,000th step (epoch 90) is the peak; the 150,000th is the last
    seen = [rates(ONE_CYCLE, line, 300, 0.2, step, 1, key)[0] for step in (0, 44_999, 149_999)]
    assert seen == pytest.approx(expected, rel=2e-3)
    assert seen[1] == expected[1], "exactly"


def test_rmix_multi_step():
    cfg = {"type": "MultiStepLR", "milestones": [150, 225], "gamma": 0.1}
    line = Timeline(((0, 500),))
    seen = [
        rates(cfg, line, 300, 0.2, epoch * 500 + extra, 1)[0] for epoch in (149, 150, 224, 225) for extra in (0, 499)
    ]
    assert seen == pytest.approx([0.2, 0.2, 0.02, 0.02, 0.02, 0.02, 0.002, 0.002])


KNOTS = [(0, 0.5), (8, 1.0), (15, 0.125), (15, 0.2), (40, 0.02), (65, 0.002), (90, 0.0002), (100, 0.00002)]


@pytest.mark.parametrize("start", [0, 7, 8 * 25 - 1, 15 * 25 - 2, 15 * 25 + 25 * 57 - 1, 15 * 25 + 85 * 57 - 3])
def test_rmix_imagenet_in_phases(start):
    """Batches of 1024 to epoch 15, of 448 from there on: here 25 and 57 steps an epoch."""
    line = Timeline(((0, 25), (15, 57)))
    cfg = {"type": "PiecewiseLinearLR", "knots": KNOTS, "convert_to_iter_based": True}
    places, values = zip(*KNOTS, strict=True)
    expected = []
    for step in range(start, start + 3):
        epoch = line.epoch_of(step)
        place = epoch + (step - line.start_of(epoch) + 1) / line.steps_in(epoch)
        first = slice(0, 3) if place <= 15 else slice(3, None)
        expected.append(float(np.interp(place, places[first], values[first])))
    assert rates(cfg, line, 100, 0.1, start, 3) == pytest.approx(expected)


def test_the_whole_run_of_phases_ends_at_the_last_knot():
    cfg = {"type": "PiecewiseLinearLR", "knots": KNOTS, "convert_to_iter_based": True}
    seen = rates(cfg, Timeline(((0, 3), (15, 5))), 100, 0.1)
    assert len(seen) == 45 + 85 * 5
    assert (seen[44], seen[-1], seen[23], max(seen)) == pytest.approx((0.125, 0.00002, 1.0, 1.0))


def test_milestones_in_epochs_of_different_lengths():
    cfg = {"type": "MultiStepLR", "milestones": [1, 3], "gamma": 0.5, "convert_to_iter_based": True}
    assert rates(cfg, Timeline(((0, 2), (2, 3))), 4, 1.0) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_groups_keep_their_share():
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr_mult": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.2)
    PiecewiseLinearLR(optimizer, [(0, 0.0), (2, 1.0)])
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.05])


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"knots": []}, "must be pairs"),
        ({"knots": [[0, 1], [2]]}, "must be pairs"),
        ({"knots": [[1, 1], [0, 1]]}, "must rise"),
        ({"knots": [[0, -1]]}, "at least 0"),
        ({"knots": [[0, 1]], "convert_to_iter_based": True, "by_epoch": False}, "told in epochs"),
        ({"type": "CosineAnnealingLR", "T_max": 3, "convert_to_iter_based": True}, "leave T_max out"),
        ({"type": "StepLR", "step_size": 3, "convert_to_iter_based": True}, "leave step_size out"),
    ],
)
def test_bad_schedules_say_what_is_wrong(cfg, message):
    with pytest.raises(UserError, match=message):
        rates({"type": "PiecewiseLinearLR", **cfg}, Timeline(((0, 2),)), 2, 1.0)


@pytest.mark.parametrize("cfg", [{"type": "MultiStepLR", "milestones": [1], "gamma": 0.5},
                                 {"type": "PiecewiseLinearLR", "knots": [[0, 1.0], [1, 0.5], [2, 0.5]]}])  # fmt: skip
def test_places_count_from_the_beginning_of_the_span(cfg):
    """Two epochs of 4 steps, then of 8: a span from epoch 2 on has its place 1 at step 16."""
    span = {**cfg, "begin": 2, "convert_to_iter_based": True}
    seen = rates(span, Timeline(((0, 4), (2, 8))), 4, 1.0)
    assert (seen[7], seen[8 if cfg["type"] == "MultiStepLR" else 7], seen[16]) == (1.0, 1.0, 0.5)
    assert all(rate > 0.5 for rate in seen[:15])


@pytest.mark.parametrize("kind", ["OneCycleLR", "CyclicLR"])
def test_rates_of_a_schedules_own_are_multiplied_too(kind):
    cfg = {"type": kind, "max_lr": 1.0, "by_epoch": False} | ({"base_lr": 0.1} if kind == "CyclicLR" else {})
    task = OneLayer()
    factors = {"custom_keys": {"layer.bias": {"lr_mult": 0.1}}}
    wrapper = OptimWrapper({"type": "SGD", "lr": 1.0, "momentum": 0.9}, factors)
    optimizer = build_optimizer(wrapper, task)
    schedule = Schedule(cfg, optimizer, Timeline(((0, 5),)), 2, 10)
    for step in range(9):
        weight, bias = (group["lr"] for group in optimizer.param_groups)
        assert bias == pytest.approx(0.1 * weight)
        optimizer.step()
        schedule.after_step(step + 1)


@pytest.mark.parametrize(
    ("cfg", "message"),
    [
        ({"total_steps": 5}, "total_steps must be at least 10"),
        ({"epochs": 2, "steps_per_epoch": 5}, "leave epochs and steps_per_epoch out"),
        ({"convert_to_iter_based": True, "begin": "1"}, "must be numbers"),
    ],
)
def test_lengths_of_one_cycle(cfg, message):
    with pytest.raises(UserError, match=message):
        rates({"type": "OneCycleLR", "max_lr": 1.0, "by_epoch": "begin" in cfg, **cfg}, Timeline(((0, 5),)), 2, 1.0)
