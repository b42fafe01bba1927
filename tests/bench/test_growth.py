"""Growth: exponents, what a process holds, runs that are started and read."""

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openmix.bench import growth, memory
from openmix.bench.fresh import in_fresh_process
from openmix.bench.memory import memory_of
from openmix.bench.report import Options
from openmix.errors import Reported

CPU = torch.device("cpu")
QUIET = Options(CPU, quick=True, say=lambda line: None)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_exponents_of_powers(power):
    sizes = [3, 7, 20, 100]
    assert growth.exponent(sizes, [0.1 * n**power for n in sizes]) == pytest.approx(power, abs=1e-9)


def test_set_sizes(monkeypatch):
    built = []
    loader = growth.ResidentLoader
    monkeypatch.setattr(
        growth, "ResidentLoader", lambda source, *a, **k: (built.append(len(source)), loader(source, *a, **k))[1]
    )
    rows = growth.by_set_size((300, 600), QUIET)
    assert [row["n"] for row in rows] == [300, 600, 300, 600]
    assert built == [100, 300, 600], "the first has what is made once"
    loading = rows[2:]
    expected = growth.exponent([300, 600], [1 / row["images_per_s"] for row in loading])
    assert loading[-1]["exponent"] == pytest.approx(expected)
    assert all(row["build_s"] > 0 for row in rows[:2])


def test_batch_sizes(monkeypatch):
    monkeypatch.setattr(growth, "BATCHES", (5, 10))
    monkeypatch.setattr(growth, "WIDTHS", [2])
    rows = growth.by_batch_size(QUIET)
    assert [row["n"] for row in rows] == [5, 10]
    expected = growth.exponent([5, 10], [row["n"] / row["images_per_s"] for row in rows])
    assert rows[-1]["exponent"] == pytest.approx(expected)


def test_one_gpu_has_one_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(growth, "images_per_s", lambda processes, steps, device: 10.0 * processes)
    (row,) = growth.by_processes(Options(torch.device("cuda"), quick=True, say=QUIET.say))
    assert (row["n"], row["images_per_s"]) == (1, 10.0)
    assert growth.by_processes(QUIET)[-1]["exponent"] == pytest.approx(1.0)


def test_the_first_record_does_not_count(monkeypatch, tmp_path):
    def run(command, **options):
        folder = Path(command[command.index("--work-dir") + 1])
        folder.mkdir()
        records = [(999.0, 1.0), (10.0, 1.0), (40.0, 2.0)]
        lines = [json.dumps({"images_per_s": rate, "time_s": seconds}) for rate, seconds in records]
        (folder / "metrics.jsonl").write_text("\n".join(lines))
        assert options["env"]["CUDA_VISIBLE_DEVICES"] == ""
        return growth.subprocess.CompletedProcess(command, 0, "")

    monkeypatch.setattr(growth.subprocess, "run", run)
    assert growth.images_per_s(2, 6, CPU) == pytest.approx(90 / 3)


def test_a_run_that_fails_is_told_of(monkeypatch):
    failed = growth.subprocess.CompletedProcess([], 3, "out of luck")
    monkeypatch.setattr(growth.subprocess, "run", lambda command, **options: failed)
    with pytest.raises(Reported, match="of 2 processes ended with exit code 3:\nout of luck"):
        growth.images_per_s(2, 6, CPU)


@pytest.mark.slow
def test_two_real_processes(monkeypatch):
    monkeypatch.setattr(growth, "WIDTHS", [2])
    assert growth.images_per_s(2, 6, CPU) > 0


def test_the_config_is_one_that_training_takes(tmp_path):
    from openmix.engine.config import load_config

    path = tmp_path / "config.json"
    path.write_text(json.dumps(growth._config(2, 6)))
    cfg = load_config(str(path))
    assert cfg.train_dataloader.dataset.length == 1200
    assert cfg.train_cfg.max_iters == 6


@pytest.mark.slow
def test_memory():
    """Each image takes 3072 bytes in the set, and 4800 in a resident loader, which stores it padded by 4."""
    small, large = (memory_of("ResidentLoader", n, CPU) for n in (10_000, 60_000))  # what malloc keeps is small beside
    mib = 50_000 / (1 << 20)
    assert large["set_mb"] - small["set_mb"] == pytest.approx(3072 * mib)
    if large["kept_mb"] is None:
        pytest.skip("the system does not tell what a process holds")
    assert large["kept_mb"] - small["kept_mb"] == pytest.approx(4800 * mib, rel=0.35)
    assert large["peak_mb"] > (3072 + 4800) * mib * 0.9
    assert large["workers_mb"] is None and large["device_mb"] is None


def test_what_workers_hold_of_their_own():
    found = memory._measured("TorchLoader, 2 workers", 1000, CPU)
    assert found["set_mb"] == pytest.approx(1000 * 3072 / (1 << 20))
    assert found["workers_mb"] is None or 0 < found["workers_mb"] < 500


def test_memory_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(memory, "Path", lambda name: Path("/nowhere"))
    found = memory._measured("ResidentLoader", 1000, CPU)
    assert (found["kept_mb"], found["peak_mb"], found["workers_mb"]) == (None, None, None)


def test_ctrl_c_ends_a_fresh_process_without_a_word():
    code = (
        "import sys, time\n"
        "from openmix.bench.fresh import in_fresh_process\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        in_fresh_process(exec, 'import time; print(\"begun\", flush=True); time.sleep(60)')\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
        assert process.communicate(timeout=30) == ("interrupted\n", "")
    finally:
        process.kill()


def test_a_fresh_process_begins_with_the_variables_and_hands_errors_back(monkeypatch):
    monkeypatch.delenv("OPENMIX_A", raising=False)
    monkeypatch.setenv("OPENMIX_B", "kept")
    look = functools.partial(in_fresh_process, environment={"OPENMIX_A": "new", "OPENMIX_B": "changed"})
    assert (look(os.getenv, "OPENMIX_A"), look(os.getenv, "OPENMIX_B")) == ("new", "changed")
    assert (os.getenv("OPENMIX_A"), os.getenv("OPENMIX_B")) == (None, "kept")
    assert look(os.getpid) != os.getpid()
    with pytest.raises(FileNotFoundError):
        look(os.listdir, "/nowhere")
