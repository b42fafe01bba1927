"""tools/launch.py: starts workers, hands signals on, and ends with the exit code that says most. No torch needed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

LAUNCH = Path(__file__).parents[2] / "tools" / "launch.py"


@pytest.fixture
def launch(tmp_path) -> Callable[..., subprocess.Popen[str]]:
    """Start N copies of a program given as text, whose RANK is ``rank``."""

    def launch(nproc: int, program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        path = tmp_path / "program.py"
        path.write_text(f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{program}\n")
        env = {k: v for k, v in os.environ.items() if k not in ("PORT", "NNODES", "NODE_RANK", "OMP_NUM_THREADS")}
        command = [sys.executable, str(LAUNCH), str(nproc), str(path), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=env | environment, stdout=pipe, stderr=pipe, text=True)

    return launch


def finish(process: subprocess.Popen[str], within: float = 30) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=within)
    return process.returncode, out, err


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 30
    while not all(p.exists() for p in paths):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("", 0),
        ("sys.exit(2)", 2),
        ("sys.exit(2 if rank == 1 else 0)", 2),
        ("sys.exit([1, 2, 1][rank])", 2),
        ("sys.exit([75, 1, 75][rank])", 75),
        ("sys.exit([75, 0, 75][rank])", 75),
        ("sys.exit([0, 0, 3][rank])", 3),
        ("sys.exit([75, 2, 75][rank])", 2),
        ("sys.exit(1) if rank else (time.sleep(1), sys.exit(2))", 2),  # who finds out later is waited for
        # a worker is killed, as for want of memory; those that lost it fail with 1
        ("os.kill(os.getpid(), signal.SIGKILL) if rank == 2 else sys.exit(1)", 137),
        ("os.kill(os.getpid(), signal.SIGSEGV) if rank == 1 else None", 139),
    ],
)
def test_exit_code(launch, program, code):
    assert finish(launch(3, program))[0] == code


def test_the_others_do_not_hang_when_one_is_killed(launch):
    """They get some seconds to say why, then they are stopped."""
    began = time.monotonic()
    process = launch(3, "os.kill(os.getpid(), signal.SIGKILL) if rank == 0 else time.sleep(60)")
    assert finish(process)[0] == 137
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_the_others_may_take_their_time_to_save(launch, tmp_path):
    """75 says that the run is stopping in order: nobody is hurried."""
    saved = tmp_path / "saved"
    program = f"if rank == 0:\n    time.sleep(7)\n    open({str(saved)!r}, 'w').close()\nsys.exit(75)"
    assert finish(launch(2, program))[0] == 75
    assert saved.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_are_handed_on(launch, tmp_path, number):
    program = f"""
def stop(number, frame):
    sys.exit(75)
signal.signal({int(number)}, stop)
open({str(tmp_path)!r} + f'/ready{{rank}}', 'w').close()
time.sleep(30)
"""
    process = launch(2, program)
    wait_for(tmp_path / "ready0", tmp_path / "ready1")
    process.send_signal(number)
    assert finish(process)[0] == 75


class TestEnvironment:
    PROGRAM = """
import json
names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'OMP_NUM_THREADS')
with open(os.path.join(sys.argv[1], str(rank) + '.json'), 'w') as file:
    json.dump(dict({name: os.environ[name] for name in names}, arguments=sys.argv[2:]), file)
"""

    def seen(self, launch: Any, folder: Path, nproc: int, *arguments: str, **environment: str) -> list[Any]:
        assert finish(launch(nproc, self.PROGRAM, str(folder), *arguments, **environment)) == (0, "", "")
        return [json.loads(p.read_text()) for p in sorted(folder.glob("*.json"))]

    def test_of_one_node(self, launch, tmp_path):
        seen = self.seen(launch, tmp_path, 2, "--flag", "a b")
        assert [s["RANK"] for s in seen] == [s["LOCAL_RANK"] for s in seen] == ["0", "1"]
        assert {s["WORLD_SIZE"] for s in seen} == {"2"}
        assert {s["MASTER_ADDR"] for s in seen} == {"127.0.0.1"}
        assert len({s["MASTER_PORT"] for s in seen}) == 1
        assert all(s["arguments"] == ["--flag", "a b"] for s in seen)
        assert {s["OMP_NUM_THREADS"] for s in seen} == {str(max(1, (os.cpu_count() or 1) // 2))}

    def test_of_the_second_of_two_nodes(self, launch, tmp_path):
        where = {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "10.0.0.1", "PORT": "29400", "OMP_NUM_THREADS": "3"}
        seen = self.seen(launch, tmp_path, 2, **where)
        assert [(s["RANK"], s["LOCAL_RANK"], s["WORLD_SIZE"]) for s in seen] == [("2", "0", "4"), ("3", "1", "4")]
        assert {(s["MASTER_ADDR"], s["MASTER_PORT"], s["OMP_NUM_THREADS"]) for s in seen} == {
            ("10.0.0.1", "29400", "3")
        }

    def test_several_nodes_must_agree_on_a_port(self, launch):
        code, _, err = finish(launch(2, "", NNODES="2"))
        assert code == 2
        assert err == "error: several nodes need to agree on a port: set PORT\n"
