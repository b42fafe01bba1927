"""The list for a GPU, gone through on a CPU: what is counted, compared and run, with a device that is played."""

import subprocess
import warnings
from pathlib import Path

import pytest
import torch

from openmix.bench import gpu
from openmix.bench.measure import estimate
from openmix.bench.recipe import Recipe
from openmix.bench.report import Options
from openmix.data import Synthetic
from openmix.models import ConvNet

CPU = torch.device("cpu")
QUIET = Options(CPU, quick=True, say=lambda line: None)


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(lambda: ConvNet([2]), Synthetic(10, (3, 32, 32), 64), 8, CPU, padding=4, flip=True, alpha=1.0)


class Mode:
    """CUDA's sync debug mode, and an operation that waits."""

    def __init__(self) -> None:
        self.current = "default"
        self.seen: list[str] = []

    def set(self, mode: str) -> None:
        self.current = mode
        self.seen.append(mode)

    def wait(self) -> None:
        if self.current == "warn":
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)


@pytest.fixture
def mode(monkeypatch) -> Mode:
    mode = Mode()
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", mode.set)
    return mode


class Waiting(gpu.Hook):
    """Waits at these steps."""

    def __init__(self, mode: Mode, steps: set[int]) -> None:
        self.mode, self.steps = mode, steps

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter in self.steps:
            self.mode.wait()


@pytest.mark.parametrize(("steps", "count"), [(set(), 0), ({0, 1}, 0), ({2}, 1), ({2, 4, 5}, 3), ({6}, 0)])
def test_syncs_are_counted_from_the_first_watched_step_to_the_last(recipe, mode, steps, count):
    counted = gpu.CountSyncs(warmup=2, steps=4)
    recipe.train([Waiting(mode, steps), counted], 8)
    assert len(counted.places) == count
    assert mode.seen == ["warn", "default"]


def test_where_the_host_waits_is_said(recipe, mode, monkeypatch):
    row, bar = gpu.host_syncs(recipe, warmup=1, steps=2)
    assert (bar.met, bar.value) == (True, "0 a step")
    original = ConvNet.forward

    def forward(self, images):
        mode.wait()
        return original(self, images)

    monkeypatch.setattr(ConvNet, "forward", forward)
    row, bar = gpu.host_syncs(recipe, warmup=1, steps=2)
    assert not bar.met
    assert bar.value.startswith("1 a step (test_gpu.py:")
    assert row["note"] == bar.value


def test_a_run_that_fails_leaves_the_mode_as_it_was(recipe, mode, monkeypatch):
    def forward(self, images):
        raise OSError("no")

    monkeypatch.setattr(gpu.CountSyncs, "after_train_iter", forward)
    with pytest.raises(TypeError):
        gpu.host_syncs(recipe, warmup=0, steps=2)
    assert mode.current == "default"


def test_both_loaders_train_beside_the_bare_loop(recipe):
    rows, ratio = gpu.trained("tiny", recipe, turns=4, block=1)
    by = {row["by"]: row for row in rows}
    assert list(by) == ["openmix, resident loader", "bare loop", "openmix, torch loader"]
    assert {row["images_per_s_n"] for row in rows} == {4}
    assert "ratio" not in by["openmix, torch loader"]
    assert ratio.median == by["openmix, resident loader"]["ratio"]


def test_nothing_takes_turns_with_worker_processes(recipe, monkeypatch):
    seen = []

    class Noting(gpu.Beside):
        def before_run(self, runner):
            seen.append((type(runner.train_dataloader).__name__, list(self.rivals)))

    monkeypatch.setattr(gpu, "Beside", Noting)
    gpu.trained("tiny", recipe, turns=1, block=1)
    assert seen == [("ResidentLoader", ["bare"]), ("TorchLoader", [])]


def test_a_ratio_is_of_speeds(recipe, monkeypatch):
    class Played(gpu.Beside):
        def _end(self, name):
            self.seconds[name].append({"openmix": 2.0, "bare": 1.0}[name])

    monkeypatch.setattr(gpu, "Beside", Played)
    rows, ratio = gpu.trained("tiny", recipe, turns=3, block=1)
    assert ratio == estimate([0.5] * 3)
    assert [row["images_per_s"] for row in rows] == [4.0, 8.0, 4.0]


def test_shares(recipe, monkeypatch):
    monkeypatch.setattr(gpu, "beside_lerp", lambda call, step, turns, block, device: ([0.1] * turns, [0.4] * turns))
    rows = list(gpu.shares(recipe, 3, 1))
    assert {row["by"] for row in rows} == gpu.methods().keys()
    assert all(row["share"] == 0.25 and row["ms"] == 100 for row in rows)


def test_shares_are_measured(recipe, monkeypatch):
    monkeypatch.setattr(gpu, "methods", lambda: {"cutmix": gpu.openmix.build_mixer("cutmix")})
    (row,) = gpu.shares(recipe, 2, 1)
    assert row["share"] > 0


@pytest.mark.parametrize(
    ("body", "outcome", "met"),
    [
        ("assert True", "1 passed, 1 deselected", True),
        ("assert False", "1 failed, 1 deselected", False),
        ("pytest.skip()", "1 skipped, 1 deselected", False),
    ],
)
def test_the_suite(tmp_path, body, outcome, met):
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    (tmp_path / "tests" / "test_it.py").write_text(
        f"import pytest\n\n@pytest.mark.gpu\ndef test_a():\n    {body}\n\ndef test_b():\n    assert False\n"
    )
    rows, (bar,) = gpu.suite(tmp_path, Options(CPU))
    assert rows[0]["note"].startswith(outcome)
    assert (bar.value, bar.met) == (rows[0]["note"], met)


def test_no_suite(tmp_path):
    rows, bars = gpu.suite(tmp_path, QUIET)
    assert "not run" in rows[0]["note"] and bars == []


def test_a_suite_that_hangs(tmp_path, monkeypatch):
    def hang(*command, timeout, **options):
        raise subprocess.TimeoutExpired(command, timeout)

    (tmp_path / "tests").mkdir()
    monkeypatch.setattr(gpu.subprocess, "run", hang)
    _, (bar,) = gpu.suite(tmp_path, QUIET)
    assert not bar.met and "not finished" in bar.value


def test_the_list_is_gone_down(recipe, mode, monkeypatch):
    cases = []
    monkeypatch.setattr(gpu, "suite", lambda checkout, options: ([{"what": "tests", "note": checkout.name}], []))
    monkeypatch.setattr(gpu, "cifar_recipe", lambda options, size: recipe)
    played = lambda case, recipe, *_: (cases.append((case, recipe.compile)) or [{"what": case}], estimate([0.91]))  # noqa: E731
    monkeypatch.setattr(gpu, "trained", played)
    monkeypatch.setattr(gpu, "shares", lambda *_: iter([{"what": "mixing"}]))
    section = gpu.run(QUIET)
    assert [compiled for _, compiled in cases] == [False, True, False, True]
    assert [bar.met for bar in section.bars] == [True, True]
    assert section.rows[0]["note"] == Path(gpu.openmix.__file__).parents[1].name
    assert [row["what"] for row in section.rows[-2:]] == ["mixing", "host syncs"]
