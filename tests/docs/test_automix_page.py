"""docs/automix.md: its config builds, and its figures are those of the benchmarks that it names."""

import json
import re
from pathlib import Path

from openmix.registry import build_task

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "automix.md").read_text()


def rows_of(name: str) -> dict[str, dict]:
    rows = json.loads((DOCS / f"benchmarks/{name}.json").read_text())["rows"]
    return {row["name"]: row for row in rows}


def test_the_config_builds_each_task():
    code = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "type=" in block)
    names: dict = {}
    exec(code, names)
    for kind in ("AutoMix", "SAMix", "AdAutoMix"):
        block = {} if kind != "AdAutoMix" else {"mix_block": {"type": "AdaptiveMask"}}
        task = build_task({**names["model"], "type": f"{kind}Classification", **block}, device="meta")
        assert task.mix_block.in_channels == 256


def test_the_costs_are_those_measured():
    rows = rows_of("learned_mixing_cost")
    for name in ("AutoMix", "SAMix", "AdAutoMix"):
        assert f"{name} {rows[name]['ratio']:.2f} times" in PAGE


def test_the_masks_are_those_measured():
    rows = rows_of("learned_mixing_masks")
    assert (
        f"within {rows['AutoMix']['lambda_off']:.2f} of it; with SAMix within {rows['SAMix']['lambda_off']:.2f}" in PAGE
    )
    first, _, last = rows["AutoMix"]["loss_mask"].split()
    assert f"falls from {float(first):.2f} to\n{float(last):.2f} with AutoMix" in PAGE
    assert set(rows["AutoMix, no lambda (CIFAR)"]["means"].split()) == {"0.92"}
    assert "became 0.92" in PAGE
