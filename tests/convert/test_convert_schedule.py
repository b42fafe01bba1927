"""Schedules: rates against mmcv's formulas, step by step."""

import math
import re
from typing import Any

import pytest
import torch
from mmengine.config import Config

from openmix.convert.config import convert_config
from openmix.data.timeline import Timeline
from openmix.engine.optim import Schedule

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


@pytest.mark.parametrize(
    ("floor", "epochs", "warm", "ratio", "kind"),
    [
        (0.05, 12, 3, 1e-3, "linear"),
        (0.2, 12, 2, 0.1, "linear"),
        (0.2, 60, 4, 1e-5, "linear"),
        (0.1, 60, 6, 0.1, "constant"),
    ],
)
def test_how_far_a_floor_takes_the_rates_from_mmcvs(old, floor, epochs, warm, ratio, kind, monkeypatch):
    """What the report says bounds what torch does, and not by far."""
    warm_up = {"warmup": kind, "warmup_iters": warm, "warmup_by_epoch": True, "warmup_ratio": ratio}
    lr = {**COSINE, "min_lr": floor, "by_epoch": False, **warm_up}
    runner = {"type": "EpochBasedRunner", "max_epochs": epochs}
    path = old(lr_config={**lr, "_delete_": True}, optimizer={"lr": BASE}, runner=runner)
    _, report = convert_config(path)
    (entry,) = [entry for entry in report.entries if entry.key == "lr_config.min_lr"]
    assert entry.verdict == "changed"
    said = float(re.findall(r"by up to about (\S+) %", entry.text)[0])
    monkeypatch.setitem(globals(), "EPOCHS", epochs)
    pairs = zip(rates(converted(path).param_scheduler), mmcv_rates(lr), strict=True)
    found = 100 * max(abs(rate / expected - 1) for rate, expected in pairs)
    assert 0.5 * said < found < 1.1 * said


def test_the_mix_blocks_own_schedule(old):
    """OpenMixup's second scheduler takes over the rates of its group, from that group's own rate on."""
    model = {
        "type": "AutoMixup",
        "backbone": {"type": "ResNet_CIFAR", "depth": 18, "out_indices": (2, 3)},
        "mix_block": {"type": "PixelMixBlock", "in_channels": 256},
        "head_mix": {"type": "ClsMixupHead", "num_classes": 10},
        "_delete_": True,
    }
    cfg = converted(
        old(
            model=model,
            optimizer={"lr": BASE, "paramwise_options": {"mix_block": {"lr": BASE / 2}}},
            lr_config={**COSINE, "min_lr": 0.05, "_delete_": True},
            addtional_scheduler={**COSINE, "min_lr": 0.01, "by_epoch": False, "paramwise_options": ["mix_block"]},
        )
    )
    factor = cfg.optim_wrapper.paramwise_cfg["custom_keys"]["mix_block"]["lr_mult"]
    groups = [
        {"params": [torch.zeros(1, requires_grad=True)], "name": name, "lr": rate}
        for name, rate in (("student", BASE), ("mix_block", BASE * factor))
    ]
    optimizer = torch.optim.SGD(groups, lr=BASE)
    schedule = Schedule(cfg.param_scheduler, optimizer, Timeline(((0, STEPS),)), EPOCHS, EPOCHS * STEPS)
    for step in range(EPOCHS * STEPS):
        student, block = (group["lr"] for group in optimizer.param_groups)
        by_epoch = (1 + math.cos(math.pi * (step // STEPS) / EPOCHS)) / 2
        by_step = (1 + math.cos(math.pi * step / (EPOCHS * STEPS))) / 2
        assert student == pytest.approx(0.05 + (BASE - 0.05) * by_epoch)
        assert block == pytest.approx(0.01 + (BASE / 2 - 0.01) * by_step)
        optimizer.step()
        schedule.after_step(step + 1)
        if (step + 1) % STEPS == 0:
            schedule.after_epoch((step + 1) // STEPS)


def test_a_floor_is_mmcvs_without_a_warm_up_and_unknown_in_other_units(old):
    key = "lr_config.min_lr"
    _, report = convert_config(old(lr_config={**COSINE, "min_lr": 0.05}))
    assert [entry.verdict for entry in report.entries if entry.key == key] == ["renamed"]
    in_iterations = {"warmup_by_epoch": False, "warmup_iters": 500}
    _, report = convert_config(old(lr_config={**COSINE, "min_lr": 0.05, **WARM, **in_iterations}))
    (text,) = [entry.text for entry in report.entries if entry.key == key]
    assert "(the warm-up's share of the run)^2" in text


class TestAccumulation:
    """mmcv counts micro-batches, openmix optimizer steps: four of them are one step here."""

    def convert(self, old, runner=None, **changes):
        config = {"update_interval": 4}
        runner = {"type": "IterBasedRunner", "max_iters": 10_000, "_delete_": True} if runner is None else runner
        text, report = convert_config(old(optimizer_config=config, runner=runner, **changes))
        return Config.fromstring(text, ".py"), {entry.key: (entry.verdict, entry.text) for entry in report.entries}

    def test_lengths(self, old):
        lr = {**COSINE, "min_lr": 0.0, "warmup": "linear", "warmup_iters": 400, "warmup_ratio": 0.1}
        cfg, said = self.convert(
            old,
            lr_config=lr,
            checkpoint_config={"interval": 2000},
            evaluation={"interval": 500, "by_epoch": False},
        )
        assert cfg.train_cfg == {"max_iters": 2500, "val_interval": 125}
        assert cfg.param_scheduler[0] == {"type": "LinearLR", "start_factor": 0.1, "end": 100, "by_epoch": False}
        assert cfg.param_scheduler[1] == {"type": "CosineAnnealingLR", "eta_min": 0.0, "by_epoch": False}
        assert cfg.default_hooks.checkpoint == {"interval": 500, "by_epoch": False}
        assert said["runner.max_iters"] == ("changed", "train_cfg.max_iters, 2500: steps of 4 iterations each")

    def test_what_does_not_divide_is_rounded_and_said(self, old):
        lr = {"policy": "step", "step": [1001, 2000], "by_epoch": False, "_delete_": True}
        cfg, said = self.convert(old, lr_config=lr)
        assert cfg.param_scheduler.milestones == [250, 500]
        assert said["lr_config.step"][1].endswith("250, 500: steps of 4 iterations each, rounded down")

    @pytest.mark.parametrize(
        ("lr", "expected"),
        [
            ({"policy": "step", "step": 1000}, {"type": "StepLR", "step_size": 250, "gamma": 0.1}),
            ({"policy": "exp", "gamma": 0.5}, {"type": "ExponentialLR", "gamma": 0.0625}),
        ],
    )
    def test_what_a_step_is_to_the_rate(self, old, lr, expected):
        cfg, _ = self.convert(old, lr_config={**lr, "_delete_": True})
        assert cfg.param_scheduler == {**expected, "by_epoch": False}

    def test_epochs_are_epochs(self, old):
        lr = {"policy": "step", "step": [30, 60], **WARM, "_delete_": True}
        cfg, _ = self.convert(old, runner={"max_epochs": 90}, lr_config=lr)
        assert cfg.train_cfg.max_epochs == 90
        assert cfg.param_scheduler[0]["end"] == 3 and cfg.param_scheduler[1].milestones == [30, 60]
        assert cfg.default_hooks.checkpoint.interval == 10
