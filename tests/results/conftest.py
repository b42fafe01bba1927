"""Work dirs as runs leave them, made by hand."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from openmix.engine.config import config_text


def write_run(
    folder: Path,
    top1: Sequence[float | None] = (90.0,) * 12,
    seed: int = 0,
    method: str | list[str] = "mixup",
    record: dict[str, Any] | None = None,
    epochs: int | None = None,
    **model: Any,
) -> Path:
    """Write the work dir of a finished run with a validation an epoch; return it."""
    folder.mkdir(parents=True)
    network = {"type": "ResNet_CIFAR", "depth": 18}
    config = {
        "model": {"type": "MixUpClassification", "backbone": network, "mix_mode": method, **model},
        "train_dataloader": {
            "type": "ResidentLoader",
            "dataset": {"type": "CIFAR10", "split": "train"},
            "pipeline": [],
        },
        "val_dataloader": {"type": "ResidentLoader", "dataset": {"type": "CIFAR10", "split": "test"}},
        "train_cfg": {"max_epochs": epochs or len(top1)},
        "randomness": {"seed": seed},
        "work_dir": str(folder),
    }
    (folder / "config.py").write_text(config_text(config))
    described = {
        "schema": 1, "config": f"/home/somebody/configs/a/{folder.name}.py", "config_hash": "0" * 16,
        "git_commit": "c" * 40,
        "seed": seed, "world_size": 1, "threads": 1, "device": "CPU", "versions": {"torch": "2.6.0"}, "status": "done",
        "start_time": "2026-01-01T00:00:00+0000", "end_time": "2026-01-01T00:10:00+0000", "resumed_at": None,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps({**described, **(record or {})}))
    lines = []
    for epoch, value in enumerate(top1, 1):
        for step in (1, 2):
            lines.append({"split": "train", "epoch": epoch, "step": 2 * epoch - 2 + step, "lr": 0.1, "loss": 1.0})
        lines.append({"split": "val", "epoch": epoch, "step": 2 * epoch, "top1": value, "nll": 1.0, "n": 1000})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="session")
def run_of() -> Callable[..., Path]:
    """See :func:`write_run`."""
    return write_run
