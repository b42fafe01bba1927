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

NODES = ("NNODES", "NODE_RANK", "MASTER_ADDR", "PORT")
LAUNCH = Path(__file__).parents[2] / "tools" / "launch.py"


@pytest.fixture
def launch(tmp_path) -> Callable[..., subprocess.Popen[str]]:
    """Start N copies of a program given as text, whose RANK is ``rank``."""

    def launch(nproc: int, program: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        path = tmp_path / "program.py"
        path.write_text(f"import os, signal, sys, time\nrank = int(os.environ['RANK'])\n{program}\n")
        env = {k: v for k, v in os.environ.items() if k not in (*NODES, "OMP_NUM_THREADS")}
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
        ("sys.exit([1, 130, 1][rank])", 130),
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


def test_a_killed_launcher_takes_its_workers_along(launch, tmp_path):
    """They have its pipes as well: those end with the last of them."""
    process = launch(2, f"open({str(tmp_path)!r} + f'/ready{{rank}}', 'w').close()\ntime.sleep(40)")
    wait_for(tmp_path / "ready0", tmp_path / "ready1")
    process.kill()
    assert finish(process, within=10) == (-signal.SIGKILL, "", "")


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

    def test_an_empty_variable_is_unset(self, launch, tmp_path):
        (seen,) = self.seen(launch, tmp_path, 1, **dict.fromkeys(NODES, ""))
        assert (seen["RANK"], seen["WORLD_SIZE"], seen["MASTER_ADDR"]) == ("0", "1", "127.0.0.1")
        assert 1 <= int(seen["MASTER_PORT"]) <= 65535

    @pytest.mark.parametrize("value", [None, ""])
    @pytest.mark.parametrize("name", ["NODE_RANK", "MASTER_ADDR", "PORT"])
    def test_what_several_nodes_need(self, launch, name, value):
        where = {"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "PORT": "29400"} | {name: value}
        code, _, err = finish(launch(2, "", **{key: text for key, text in where.items() if text is not None}))
        assert code == 2
        assert err.startswith(f"error: NNODES=2 needs also {name} (") and len(err.splitlines()) == 1
        assert not any(f"{other} (" in err for other in where if other != name)

    @pytest.mark.parametrize(
        ("environment", "reason"),
        [
            ({"NNODES": "0"}, "NNODES must be a whole number from 1 up, got '0'"),
            ({"NNODES": "two"}, "NNODES must be a whole number from 1 up, got 'two'"),
            ({"PORT": "99999"}, "PORT must be a whole number from 1 to 65535, got '99999'"),
            ({"PORT": "0"}, "PORT must be a whole number from 1 to 65535, got '0'"),
            ({"NODE_RANK": "-1"}, "NODE_RANK must be a whole number from 0 up, got '-1'"),
            ({"NODE_RANK": "1"}, "NODE_RANK counts from 0 to NNODES - 1, got 1 of 1"),
        ],
    )
    def test_wrong_numbers(self, launch, environment, reason):
        assert finish(launch(2, "", **environment)) == (2, "", f"error: {reason}\n")
