"""Schedules and parameter groups: rates against mmcv's formulas, step by step."""

import math
from typing import Any

import pytest
import torch
from mmengine.config import Config

from openmix.convert.config import convert_config
from openmix.data.timeline import Timeline
from openmix.engine.optim import Schedule
from openmix.engine.param_groups import apply_multipliers, split_groups
from openmix.engine.settings import ParamwiseCfg

BASE, EPOCHS, STEPS = 0.4, 12, 5  # the rate, epochs, steps of each


def converted(path: str) -> Any:
    text, report = convert_config(path)
    assert report.of("refused") == []
    return Config.fromstring(text, ".py")


def rates(param_scheduler: Any) -> list[float]:
    """Return the rate of each step of a run."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    schedule = Schedule(param_scheduler, optimizer, Timeline(((0, STEPS),)), EPOCHS, EPOCHS * STEPS)
    found = []
    for step in range(EPOCHS * STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.after_step(step + 1)
        if (step + 1) % STEPS == 0:
            schedule.after_epoch((step + 1) // STEPS)
    return found


def mmcv_rates(lr: dict[str, Any]) -> list[float]:
    """mmcv 1.x: a regular rate by epoch or step, and a factor on it while the run warms up."""
    found = []
    for step in range(EPOCHS * STEPS):
        by_epoch = lr.get("by_epoch", True)
        place, length = (step // STEPS, EPOCHS) if by_epoch else (step, EPOCHS * STEPS)
        if lr["policy"] == "CosineAnnealing":
            floor = lr["min_lr"] if "min_lr" in lr else BASE * lr["min_lr_ratio"]
            rate = floor + (BASE - floor) * (1 + math.cos(math.pi * place / length)) / 2
        elif lr["policy"] == "step":
            done = place // lr["step"] if isinstance(lr["step"], int) else sum(place >= s for s in lr["step"])
            rate = BASE * lr.get("gamma", 0.1) ** done
        elif lr["policy"] == "Poly":
            rate = BASE * (1 - place / length) ** lr["power"]
        elif lr["policy"] == "Exp":
            rate = BASE * lr["gamma"] ** place
        else:
            rate = BASE
        warm = lr.get("warmup_iters", 0) * (STEPS if lr.get("warmup_by_epoch") else 1)
        if step < warm:
            ratio = lr["warmup_ratio"]
            linear = 1 - (1 - step / warm) * (1 - ratio)
            rate *= linear if lr["warmup"] == "linear" else ratio
        found.append(rate)
    return found


WARM = {"warmup": "linear", "warmup_iters": 3, "warmup_by_epoch": True, "warmup_ratio": 1e-2}
COSINE = {"policy": "CosineAnnealing"}


@pytest.mark.parametrize(
    ("lr", "tolerance"),
    [
        ({**COSINE, "min_lr": 0.0}, 1e-6),
        ({**COSINE, "min_lr": 0.05}, 1e-6),
        ({**COSINE, "min_lr_ratio": 0.1, "by_epoch": False}, 1e-6),
        ({**COSINE, "min_lr": 0.0, **WARM}, 1e-6),
        ({**COSINE, "min_lr": 0.0, "by_epoch": False, **WARM}, 1e-6),
        # with a floor torch's recursion is not quite a product: next to nothing for the floors that people have
        ({**COSINE, "min_lr": 4e-6, "by_epoch": False, **WARM}, 1e-5),
        ({**COSINE, "min_lr": 0.0, "warmup": "linear", "warmup_iters": 7, "warmup_ratio": 0.2}, 1e-6),
        ({**COSINE, "min_lr": 0.0, **WARM, "warmup": "constant"}, 1e-6),
        ({"policy": "step", "step": [4, 8]}, 1e-6),
        ({"policy": "step", "step": [4, 8], "gamma": 0.5, **WARM}, 1e-6),
        ({"policy": "step", "step": 3, "gamma": 0.2}, 1e-6),
        ({"policy": "step", "step": [11, 30], "by_epoch": False}, 1e-6),
        ({"policy": "Poly", "power": 2, "by_epoch": False}, 1e-6),
        ({"policy": "Exp", "gamma": 0.7}, 1e-6),
        ({"policy": "fixed", **WARM}, 1e-6),
        ({"policy": "fixed"}, 1e-6),
    ],
)
def test_rates_are_mmcvs(old, lr, tolerance):
    cfg = converted(old(lr_config={**lr, "_delete_": True}, optimizer={"lr": BASE}))
    found = rates(cfg.get("param_scheduler"))
    assert found == pytest.approx(mmcv_rates(lr), rel=tolerance)
    assert lr["policy"] == "fixed" or len(set(found)) > 2


def test_deits_rates_at_its_length(old):
    """300 epochs of 20 steps: what torch's recursion makes of the floor stays below one in ten thousand."""
    lr = {**COSINE, "by_epoch": False, "min_lr": 1e-5, **WARM, "warmup_iters": 5, "warmup_ratio": 1e-5}
    cfg = converted(old(lr_config={**lr, "_delete_": True}))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("BASE", 1e-3), ("EPOCHS", 300), ("STEPS", 20)):
            patch.setitem(globals(), name, value)
        assert rates(cfg.param_scheduler) == pytest.approx(mmcv_rates(lr), rel=1e-4)


class TestOptimizer:
    def test_timms_by_another_name(self, old):
        cfg = converted(old(optimizer={"type": "LAMB", "lr": 0.008, "weight_decay": 0.02, "_delete_": True}))
        assert cfg.optim_wrapper.optimizer == {"type": "Lamb", "lr": 0.008, "weight_decay": 0.02}

    def test_clipping_and_accumulation(self, old):
        config = {"grad_clip": {"max_norm": 5.0, "norm_type": 2}, "update_interval": 4, "_delete_": True}
        cfg = converted(old(optimizer_config=config))
        assert cfg.optim_wrapper.clip_grad == {"max_norm": 5.0, "norm_type": 2}
        assert cfg.optim_wrapper.accumulative_counts == 4

    def test_groups_decay_as_the_patterns_say(self, old):
        options = {
            r"(bn|ln|gn)(\d+)?.(weight|bias)": {"weight_decay": 0.0},
            "bias": {"weight_decay": 0.0},
            "head": {"lr": 0.05, "weight_decay": 1e-5},
            "layer4.1": {"lr_mult": 0.1},
            "layer[12]": {"weight_decay": 0.0},
        }
        text, report = convert_config(old(optimizer={"paramwise_options": options}))
        cfg = Config.fromstring(text, ".py")
        (lost,) = report.of("no equivalent")
        assert lost.key == "optimizer.paramwise_options.layer[12]"

        from openmix.registry import build_task

        task = build_task(cfg.model, device="meta")
        groups = split_groups(task.parameter_groups(), task, ParamwiseCfg(**cfg.optim_wrapper.paramwise_cfg))
        optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=1e-4)
        apply_multipliers(optimizer)
        name_of = {id(p): name for name, p in task.named_parameters()}
        found = {name_of[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
        assert found["backbone.conv1.weight"] == pytest.approx((0.1, 1e-4))
        assert found["backbone.layer2.0.bn1.weight"] == pytest.approx((0.1, 0.0))
        assert found["backbone.layer2.0.downsample.1.bias"] == pytest.approx((0.1, 0.0))
        assert found["head.fc.weight"] == found["head.fc.bias"] == pytest.approx((0.05, 1e-5))
        assert found["backbone.layer4.1.conv1.weight"] == pytest.approx((0.01, 1e-4))

    def test_mmcvs_own_groups(self, old):
        given = {"norm_decay_mult": 0.0, "bias_lr_mult": 2.0, "custom_keys": {"head": {"lr_mult": 10.0}}}
        text, report = convert_config(old(optimizer={"paramwise_cfg": given}))
        found = Config.fromstring(text, ".py").optim_wrapper.paramwise_cfg
        assert found == {"norm_decay_mult": 0.0, "custom_keys": {"head": {"lr_mult": 10.0}}}
        assert [entry.key for entry in report.of("no equivalent")] == ["optimizer.paramwise_cfg.bias_lr_mult"]

    def test_arguments_that_the_optimizer_does_not_take(self, old):
        _, report = convert_config(old(optimizer={"unheard": 1}))
        assert [entry.key for entry in report.of("no equivalent")] == ["optimizer.unheard"]
