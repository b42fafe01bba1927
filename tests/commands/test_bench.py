"""`openmix bench`: which parts run, on what, and what is left behind."""

import importlib
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from openmix.bench import GPU, PARTS
from openmix.bench.report import Bar, Section
from openmix.commands import bench


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """Parts that only note that they were run, and with what."""
    seen = []

    def module(name):
        def run(options):
            options.say("measuring")
            seen.append((name.removeprefix("openmix.bench."), options))
            return Section(
                seen[-1][0], f"Part {seen[-1][0]}", "How.", {"n": "n"}, [{"n": 1}], [Bar("<= 1", "2", False)]
            )

        return SimpleNamespace(run=run)

    monkeypatch.setattr(bench, "import_module", module)
    monkeypatch.chdir(tmp_path)
    return seen


def names(seen):
    return [name for name, _ in seen]


def test_all_parts_in_their_order(run, seen, tmp_path):
    code, out, err = run("bench")
    assert (code, err) == (0, "")
    assert names(seen) == list(PARTS)
    assert "loaders, part 3 of 7, about 1 min left: measuring\n" in out
    assert "- **missed**: <= 1: 2" in out
    assert out.endswith("0 bars of 7 met; wrote speed.json and speed.md\n")
    assert [s["name"] for s in json.loads((tmp_path / "speed.json").read_text())["sections"]] == list(PARTS)


def test_named_parts(run, seen):
    assert run("bench", "startup", "loaders")[0] == 0
    assert names(seen) == ["loaders", "startup"]


def test_unknown_part(run, seen, tmp_path):
    code, _, err = run("bench", "loader")
    assert (code, err) == (2, f"error: no part 'loader'; there are {', '.join(PARTS)}\n")
    assert (seen, list(tmp_path.iterdir())) == ([], [])


def test_data(run, seen, tmp_path):
    code, _, err = run("bench", "loaders", "--data", tmp_path / "nowhere")
    assert code == 2
    assert err.startswith(f"error: --data: {tmp_path / 'nowhere'} holds no cifar-10-batches-py; ")
    assert run("bench", "loaders")[0] == 0
    assert "random images" in json.loads((tmp_path / "speed.json").read_text())["data"]
    (tmp_path / "data" / "cifar10" / "cifar-10-batches-py").mkdir(parents=True)
    assert run("bench", "loaders")[0] == 0
    assert json.loads((tmp_path / "speed.json").read_text())["data"] == "CIFAR-10"
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "cifar-10-batches-py").mkdir(parents=True)
    assert run("bench", "loaders", "--data", elsewhere)[0] == 0
    assert [str(options.data) for _, options in seen] == ["None", "data/cifar10", str(elsewhere)]


def test_quick(run, seen, tmp_path):
    assert run("bench", "loaders", "--quick")[0] == 0
    assert seen[0][1].quick
    assert "say nothing" in (tmp_path / "speed.md").read_text()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("speed.txt", "--out takes a name that ends in .json, not speed.txt"),
        ("file/speed.json", "--out: cannot write file/speed.json: "),
        ("folder.json", "--out: cannot write folder.json: it is a folder"),
        ("page.json", "--out: cannot write page.json: it is a folder"),
    ],
)
def test_out_is_checked_before_anything_is_measured(run, seen, tmp_path, out, message):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "page.md").mkdir()
    before = sorted(tmp_path.iterdir())
    code, _, err = run("bench", "--out", out)
    assert (code, seen) == (2, [])
    assert err.startswith(f"error: {message}")
    assert sorted(tmp_path.iterdir()) == before


def test_a_new_folder_is_made_and_an_earlier_report_replaced(run, seen, tmp_path):
    out = tmp_path / "new" / "figures.json"
    assert run("bench", "step", "--out", out)[0] == 0
    assert run("bench", "hooks", "--out", out)[0] == 0
    assert [s["name"] for s in json.loads(out.read_text())["sections"]] == ["hooks"]
    assert sorted(p.name for p in out.parent.iterdir()) == ["figures.json", "figures.md"]


def test_what_was_measured_before_a_part_fails_is_kept(run, seen, tmp_path, monkeypatch):
    module = bench.import_module

    def failing(name):
        if name.endswith("hooks"):
            raise bench.UserError("hooks cannot be measured")
        return module(name)

    monkeypatch.setattr(bench, "import_module", failing)
    code, _, err = run("bench", "loaders", "hooks", "step")
    assert (code, err) == (2, "error: hooks cannot be measured\n")
    assert [s["name"] for s in json.loads((tmp_path / "speed.json").read_text())["sections"]] == ["step", "loaders"]


class TestGPU:
    def test_none_here(self, run, seen):
        assert run("bench", "--gpu") == (2, "", "error: --gpu measures a CUDA device, and torch finds none here\n")

    @pytest.mark.parametrize(("parts", "expected"), [([], ["gpu"]), (["mixers", "step"], ["step", "mixers", "gpu"])])
    def test_parts(self, run, seen, monkeypatch, parts, expected):
        monkeypatch.setattr("openmix.engine.distributed._device", lambda local_rank: torch.device("cuda", 0))
        monkeypatch.setattr("openmix.bench.report.facts", lambda device: {})
        assert run("bench", "--gpu", *parts)[0] == 0
        assert names(seen) == expected
        assert seen[0][1].device.type == "cuda"


@pytest.mark.parametrize("name", [*PARTS, *GPU])
def test_every_part_is_a_module(name):
    assert callable(importlib.import_module(f"openmix.bench.{name}").run)


def test_help_needs_no_torch():
    code = (
        "import sys\n"
        "sys.modules.update(torch=None, mmengine=None)\n"
        "from openmix.commands import main\n"
        "main(['bench', '--help'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in PARTS)
