"""The toy networks' rows: what is subtracted from what; and that each side trains what the other does."""

from typing import Any

import pytest
import torch

from openmix.bench import measure, step
from openmix.bench.beside import Beside
from openmix.bench.mmengine_loop import train_by_mmengine
from openmix.bench.recipe import Recipe
from openmix.bench.report import Options
from openmix.data.sources import Synthetic
from openmix.models import ConvNet

CPU = torch.device("cpu")


def recipe(**changes: Any) -> Recipe:
    return Recipe(lambda: ConvNet([4]), Synthetic(10, (3, 8, 8), 50), 10, CPU, **changes)


def test_a_row_is_the_median_difference_in_microseconds_after_the_warm_up() -> None:
    bare = [9.0] * step.WARMUP + [100e-6, 200e-6, 300e-6, 100e-6, 200e-6]
    own = [0.0] * step.WARMUP + [130e-6, 210e-6, 350e-6, 125e-6, 299e-6]
    row = step._row("MixUp", "a net", {"openmix": own, "bare": bare})
    assert row["turns"] == 5
    assert [row[k] for k in ("beyond_us", "low_us", "high_us", "bare_us")] == pytest.approx([30, 10, 99, 200])
    assert row["step_s_values"] == own[step.WARMUP :] and row["bare_s_values"] == bare[step.WARMUP :]


def test_bars_are_of_openmix_alone() -> None:
    rows = [
        {"case": case, "network": "n", "beyond_us": beyond, "low_us": 1.0, "high_us": 99.0, "turns": 9}
        for case, beyond in (("MixUp", 40.0), ("engine alone", 40.1), (step.RUNNER, 1.0))
    ]
    assert [(bar.text.split(",")[0], bar.met) for bar in step._bars(rows)] == [("MixUp", True), ("engine alone", False)]


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_the_loop_without_an_engine_trains_what_the_engine_trains(alpha: float | None) -> None:
    trained = recipe(alpha=alpha)
    loop = step.TaskLoop(trained)
    for _ in range(7):  # into the second epoch
        loop()
    own = dict(trained.train([], 7).task.named_parameters())
    assert own.keys() == dict(loop.task.named_parameters()).keys()
    for name, weights in loop.task.named_parameters():
        torch.testing.assert_close(weights, own[name])
    assert not torch.equal(weights, dict(trained.task().named_parameters())[name])


def test_mmengine_trains_what_the_bare_loop_trains() -> None:
    draw = recipe().batches()
    batches = [draw() for _ in range(3)]
    by_mmengine, optimizer = recipe().network()
    beside = Beside({}, 1, CPU)
    train_by_mmengine(by_mmengine, optimizer, batches, 7, beside)
    assert len(beside.seconds["openmix"]) == 6  # the last is not over before another begins
    net, optimizer = recipe().network()
    for i in range(7):
        images, labels = batches[i % 3]
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    for own, weights in zip(net.parameters(), by_mmengine.parameters(), strict=True):
        torch.testing.assert_close(own, weights)


def test_one_thread_is_for_the_measurement_only() -> None:
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), measure.one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "BLOCK", 2)
    said: list[str] = []
    section = step.run(Options(CPU, quick=True, say=said.append))
    assert [row["case"] for row in section.rows[:4]] == list(step.CASES)
    assert {row["network"] for row in section.rows} == {"perceptron", "ConvNet([2])"}
    assert len(section.rows) == len(said) == 8 and len(section.bars) == 6
    keys = {column if isinstance(column, str) else column[0] for column in section.columns.values()}
    assert all(keys <= row.keys() and 0 < row["bare_us"] < 1e6 for row in section.rows)
