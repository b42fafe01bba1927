"""Mixing beside the lerp: what is timed is what its name says, and bars are of the rows that they name."""

import pytest
import torch

import openmix
from openmix.bench import mixers
from openmix.bench.measure import Estimate
from openmix.bench.report import Options
from openmix.bench.rows import fields_of

CPU = torch.device("cpu")


def test_every_input_method_that_needs_nothing_is_measured():
    found = mixers.methods()
    assert {"mixup", "cutmix", "resizemix", "fmix", "augmix"} <= found.keys()
    for name in openmix.list_mixers():
        mixer = openmix.build_mixer(name)
        assert (name in found) == (mixer.kind == "input" and mixer.needs == () and name != "vanilla")


def test_the_least():
    x = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 2, 2).contiguous()
    mixed = mixers.lerp(x)()
    assert mixed.shape == x.shape
    assert ((mixed >= 0) & (mixed <= 3)).all()
    assert torch.equal(mixed, mixed[:, :1, :1, :1].expand_as(mixed)), "one share an image"


def test_calls_mix_and_leave_the_images_alone():
    x, y = torch.rand(8, 3, 16, 16), torch.arange(8)
    before, found = x.clone(), mixers.calls(x, y, {"cutmix": openmix.build_mixer("cutmix")})
    assert len(found) == 1 + len(mixers.rivals())
    for name, call in found.items():
        mixed = call()
        images, target = (mixed.images, mixed.target.soft(10)) if name == "cutmix" else mixed
        assert images.shape == x.shape
        torch.testing.assert_close(target.sum(1), torch.ones(8))
    assert torch.equal(x, before)


def test_seconds_are_of_one_call(monkeypatch):
    clock = {"now": 0.0}
    monkeypatch.setattr("openmix.bench.measure.time.perf_counter", lambda: clock["now"])

    def takes(seconds):
        return lambda: clock.update(now=clock["now"] + seconds)

    own, least = mixers.beside_lerp(takes(3.0), takes(1.0), rounds=3, repeats=4, device=CPU)
    assert (own, least) == ([3.0] * 3, [1.0] * 3)


def test_bars(monkeypatch):
    def rows(function, shape, rounds, repeats, device, environment):
        assert environment == mixers.KEEP_MEMORY
        ratio = 1.2 if shape[2] == 224 else 9.0
        shown = " x ".join(map(str, shape))
        return [
            {"name": name, "shape": shown, "ms": 1.0, **fields_of("ratio_to_lerp", Estimate(ratio + 0.2 * i, 1, 2, 3))}
            for i, name in enumerate(["mixup", "cutmix", "ricap"])
        ]

    monkeypatch.setattr(mixers, "in_fresh_process", rows)
    section = mixers.run(Options(CPU, quick=True, say=lambda line: None))
    assert [(bar.text.split()[0], bar.met) for bar in section.bars] == [("mixup", True), ("cutmix", False)]
    assert len(section.rows) == 6


def test_rows():
    rows = mixers._rows((4, 3, 8, 8), 2, 1, CPU)
    names = {row["name"] for row in rows}
    assert names == mixers.methods().keys() | mixers.rivals().keys()
    assert all(row["ratio_to_lerp_low"] <= row["ratio_to_lerp"] <= row["ratio_to_lerp_high"] for row in rows)


@pytest.mark.parametrize("name", mixers.BARS)
def test_bars_are_of_methods_that_are_measured(name):
    assert name in mixers.methods()
