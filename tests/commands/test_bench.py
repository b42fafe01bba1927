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
    assert err.startswith(f"error: --data: {tmp_path / 'nowhere'} holds no cifar-10-batches-py with data_batch_1 ")
    assert run("bench", "loaders")[0] == 0
    assert "random images" in json.loads((tmp_path / "speed.json").read_text())["data"]
    (tmp_path / "data" / "cifar10" / "cifar-10-batches-py").mkdir(parents=True)
    (tmp_path / "data" / "cifar10" / "cifar-10-batches-py" / "data_batch_1").touch()
    assert run("bench", "loaders")[0] == 0
    assert json.loads((tmp_path / "speed.json").read_text())["data"].startswith("CIFAR-10")
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "cifar-10-batches-py").mkdir(parents=True)
    code, _, err = run("bench", "loaders", "--data", elsewhere)
    assert code == 2 and "data_batch_1" in err  # an empty folder is not the data set
    (elsewhere / "cifar-10-batches-py" / "data_batch_1").touch()
    assert run("bench", "loaders", "--data", elsewhere)[0] == 0
    assert [str(options.data) for _, options in seen] == ["None", "data/cifar10", str(elsewhere)]


def test_quick(run, seen, tmp_path):
    (tmp_path / "speed.json").write_text("of a whole day")
    code, out, _ = run("bench", "loaders", "--quick")
    assert code == 0 and seen[0][1].quick
    assert "min left" not in out and out.index("say nothing") < out.index("## Part loaders")
    assert (tmp_path / "speed_quick.md").read_text().startswith(f"# openmix bench\n\n**{bench.QUICK}**\n")
    assert (tmp_path / "speed.json").read_text() == "of a whole day"
    assert run("bench", "loaders", "--quick", "--out", "here.json")[0] == 0
    assert (tmp_path / "here.md").is_file()


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("speed.txt", "--out takes a name that ends in .json, not speed.txt"),
        ("file/speed.json", "--out: cannot write file/speed.json: file is not a folder"),
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


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (bench.UserError("hooks cannot be measured"), 2, "error: hooks cannot be measured"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            ModuleNotFoundError("No module named 'timm'", name="timm"),
            1,
            "error: part hooks wants a package that cannot",
        ),
    ],
)
def test_what_was_measured_before_a_part_fails_is_kept(run, seen, tmp_path, monkeypatch, error, code, said):
    module = bench.import_module
    (tmp_path / "speed.json").write_text("an earlier one")

    def failing(name):
        if name.endswith("hooks"):
            raise error
        return module(name)

    monkeypatch.setattr(bench, "import_module", failing)
    found, _, err = run("bench", "loaders", "hooks", "step")
    assert found == code
    assert err.startswith(f"what was measured before is in speed.part.json\n{said}")
    partial = json.loads((tmp_path / "speed.part.json").read_text())
    assert [s["name"] for s in partial["sections"]] == ["step", "loaders"]
    assert (tmp_path / "speed.json").read_text() == "an earlier one"
    monkeypatch.setattr(bench, "import_module", module)
    assert run("bench", "step")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["speed.json", "speed.md"]


def test_no_part_was_measured(run, seen, tmp_path, monkeypatch):
    def failing(name):
        raise bench.UserError("no")

    monkeypatch.setattr(bench, "import_module", failing)
    code, _, err = run("bench", "step")
    assert (code, err) == (2, "error: no\n")
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_our_own_is_not_a_missing_package(run, seen, monkeypatch):
    def failing(name):
        raise ImportError("cannot import name 'x'", name="openmix.bench.step")

    monkeypatch.setattr(bench, "import_module", failing)
    with pytest.raises(ImportError):
        run("bench", "step")


def test_the_command_and_how_long_it_took_are_kept(run, seen, tmp_path):
    assert run("bench", "step", "--quick", "--out", "a.json")[0] == 0
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["command"] == "openmix bench step --quick"
    assert found["duration"] == "0.0 min"


def test_time_left(monkeypatch):
    now = {"s": 0.0}
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now["s"])
    parts = {name: bench.Part("", minutes) for name, minutes in (("a", 4), ("b", 8), ("c", 2))}
    clock = bench.Clock(parts, quick=False)
    left = []
    for name, minute in (("a", 0), ("a", 3), ("a", 9), ("b", 8), ("b", 12), ("b", 99), ("c", 40), ("c", 99)):
        now["s"] = 60.0 * minute
        clock.comes_to(name)
        left.append(clock.left())
    # a took twice its time, so b and c would; with b, all took 40 / 12 of theirs
    expected = [14, 11, 10, 20, 16, 4, 7, 1]
    assert left == [f", about {n} min left" for n in expected]
    assert bench.Clock(parts, quick=True).left() == ""


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
