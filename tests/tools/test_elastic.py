"""dist_train.sh --rdzv: who is lost is replaced, and the run's end is what it would have been. Two nodes throughout."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str]

# A program without torch that says who it is, and a hook that does something to a process once or more.
PROGRAM = """
import os, signal, sys, time
rank = int(os.environ["RANK"])
assert sys.argv[1:] == ["--resume"]
with open(f"starts_{rank}", "a+") as file:
    restart = file.tell()
    file.write("x")
"""
LOSE_THE_KEEPER = """
keeper = int(open("keeper").read())
if os.getppid() == keeper:
    time.sleep(60)
os.kill(keeper, signal.SIGKILL)
os._exit(1)
"""
HOOK = """
import os, signal, time
from pathlib import Path
from mmengine.hooks import Hook
from openmix.registry import HOOKS

@HOOKS.register_module()
class Lose(Hook):
    def __init__(self, marker: str, rank: int, whom: str) -> None:
        self.marker, self.rank, self.whom = Path(marker), rank, whom

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.rank == self.rank and runner.iter + 1 == 5 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid() if self.whom == "worker" else os.getppid(), signal.SIGKILL)
            time.sleep(300)
"""


def namespaces_are_permitted() -> bool:
    """Tell whether network namespaces with a cable between them can be made here."""
    names = [f"omprobe{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "ompa", "netns", names[0], "type", "veth", "peer", "name", "ompb", "netns", names[1])
        return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)


class Nodes:
    """Two machines: network namespaces where those are permitted, else this one twice."""

    def __init__(self, folder: Path, prefixes: list[list[str]], address: str, port: int) -> None:
        self.folder, self.prefixes = folder, prefixes
        self.common = {
            "PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
            "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR",
            "NNODES": "2", "MASTER_ADDR": address, "PORT": str(port), "RDZV_TIMEOUT": "60",
        }  # fmt: skip
        self.running: list[Process] = []

    def start(self, node: int, *command: Any, **environment: str) -> Process:
        own = {"GLOO_SOCKET_IFNAME", "NODE_RANK", "MAX_RESTARTS"}
        inherited = {key: value for key, value in os.environ.items() if key not in own}
        process = subprocess.Popen(
            [*self.prefixes[node], *map(str, command)], env=inherited | self.common | environment, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.running.append(process)
        return process

    def train(self, node: int, config: str, *options: Any, **environment: str) -> Process:
        return self.start(node, "bash", ROOT / "tools" / "dist_train.sh", config, 1, *options, **environment)

    def elastic(self, node: int, program: str, **environment: str) -> Process:
        (self.folder / "program.py").write_text(PROGRAM + program)
        return self.start(node, sys.executable, ROOT / "tools" / "elastic.py", 1, "program.py", **environment)


@pytest.fixture
def nodes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Nodes]:
    """Two machines, named for their namespaces where there are any."""
    if getattr(request, "param", "loopback") == "loopback":
        nodes = Nodes(tmp_path, [[], []], "127.0.0.1", free_port())
    elif not namespaces_are_permitted():
        pytest.skip("network namespaces are not permitted here; the same runs on the loopback")
    else:
        names = [f"om{os.getpid()}{side}" for side in "ab"]
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "omva", "netns", names[0], "type", "veth", "peer", "name", "omvb", "netns", names[1])
        for name, device, address in zip(names, ("omva", "omvb"), ("10.83.0.1/24", "10.83.0.2/24"), strict=True):
            ip("-n", name, "addr", "add", address, "dev", device)
            for one in (device, "lo"):
                ip("-n", name, "link", "set", one, "up")
        request.addfinalizer(lambda: [ip("netns", "del", name) for name in names])
        nodes = Nodes(tmp_path, [["ip", "netns", "exec", name] for name in names], "10.83.0.1", 29500)
    yield nodes
    for process in nodes.running:  # none, unless the test has failed
        with process:
            process.kill()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def finish(*processes: Process, within: float = 120) -> list[tuple[int, str]]:
    """Return each one's exit code and stderr."""
    return [(p.returncode, err) for p in processes for err in [p.communicate(timeout=within)[1]]]


def wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(path.exists() for path in paths):
        assert time.monotonic() < deadline, paths
        time.sleep(0.02)


def wait_for_port(port: int) -> None:
    """Return when the rendezvous is kept."""
    deadline = time.monotonic() + 60
    with socket.socket() as s:
        while s.connect_ex(("127.0.0.1", port)) != 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("program", "codes", "starts"),
    [
        pytest.param("", [0, 0], 1, marks=pytest.mark.slow),
        pytest.param("sys.exit(2 if rank else 0)", [2, 2], 1, marks=pytest.mark.slow),
        # it is what the one says that fails by itself, not the one that merely lost it
        pytest.param("if not rank: sys.exit(2)\ntime.sleep(1)\nsys.exit(1)", [2, 2], 1, marks=pytest.mark.slow),
        pytest.param("sys.exit(75)", [75, 75], 1, marks=pytest.mark.slow),
        ("if not restart: os.kill(os.getpid(), signal.SIGKILL) if rank else sys.exit(1)", [0, 0], 2),
        # who has done its part is needed again, should another be lost
        pytest.param("if not restart and rank: time.sleep(2); sys.exit(1)", [0, 0], 2, marks=pytest.mark.slow),
    ],
)
def test_who_is_started_again(nodes, tmp_path, program, codes, starts):
    ended = finish(*(nodes.elastic(node, program) for node in (0, 1)))
    assert [code for code, _ in ended] == codes, ended
    assert [(tmp_path / f"starts_{rank}").read_text() for rank in (0, 1)] == ["x" * starts] * 2


@pytest.mark.slow
def test_restarts_are_counted(nodes, tmp_path):
    ended = finish(*(nodes.elastic(n, "sys.exit(1 if rank else 7)", MAX_RESTARTS="1") for n in (0, 1)))
    assert sorted(code for code, _ in ended) in ([1, 1], [1, 7], [7, 7])
    assert "restart 1 of at most 1" in "".join(err for _, err in ended)
    assert [(tmp_path / f"starts_{rank}").read_text() for rank in (0, 1)] == ["xx"] * 2


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGUSR1, 75), (signal.SIGINT, 130)])
def test_stop_signals_are_handed_on(nodes, tmp_path, number, code):
    program = f"signal.signal({int(number)}, lambda *_: (time.sleep(1), sys.exit({code})))"
    program += """
open(f"ready_{rank}", "w").close()
time.sleep(60)
"""
    agents = [nodes.elastic(node, program) for node in (0, 1)]
    wait_for(tmp_path / "ready_0", tmp_path / "ready_1")
    for agent in agents:
        agent.send_signal(number)
    assert finish(*agents) == [(code, "")] * 2


def test_the_keeper_is_lost(nodes, tmp_path):
    """The other node's worker fails at once, as it does where it loses its peer, so its agent asks for the verdict."""
    keeper = nodes.elastic(0, LOSE_THE_KEEPER)
    (tmp_path / "keeper").write_text(str(keeper.pid))
    wait_for_port(int(nodes.common["PORT"]))
    other = nodes.elastic(1, LOSE_THE_KEEPER)
    where = f"2 nodes at 127.0.0.1:{nodes.common['PORT']}"
    assert finish(other, within=40) == [(1, f"error: the agent that keeps the rendezvous of {where} is gone\n")]
    assert finish(keeper, within=10) == [(-signal.SIGKILL, "")]  # once its worker is gone as well: it has the pipe, too


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stop_while_the_keeper_is_awaited(nodes, number):
    """Somebody listens there who never answers."""
    with socket.socket() as keeper:
        keeper.bind(("127.0.0.1", int(nodes.common["PORT"])))
        keeper.listen()
        keeper.settimeout(60)
        agent = nodes.elastic(0, "")
        with keeper.accept()[0]:
            time.sleep(0.5)
            agent.send_signal(number)
            assert finish(agent, within=10) == [(-number, "")]


@pytest.mark.slow
def test_a_stop_while_the_others_are_awaited(nodes):
    """Of two runs, one each."""
    ports = [free_port(), free_port()]
    agents = [nodes.elastic(0, "", PORT=str(port)) for port in ports]
    for port in ports:
        wait_for_port(port)
    time.sleep(2)
    for agent, number in zip(agents, (signal.SIGINT, signal.SIGTERM), strict=True):
        agent.send_signal(number)
    assert finish(*agents) == [(130, ""), (75, "")]


@pytest.mark.slow
def test_nodes_that_do_not_come_are_told_of(nodes):
    code, err = finish(nodes.elastic(0, "", RDZV_TIMEOUT="2"))[0]
    assert code == 1
    assert (
        err == f"error: 2 nodes at 127.0.0.1:{nodes.common['PORT']} did not come together within 2 s (RDZV_TIMEOUT)\n"
    )


@pytest.mark.parametrize(
    ("options", "environment", "reason"),
    [
        ([], {"NNODES": "1:2"}, "error: NNODES must be one number: a run's batch is that of all its processes"),
        pytest.param(
            [],
            {"MAX_RESTARTS": "many"},
            "error: MAX_RESTARTS must be a whole number from 0 up, got 'many'",
            marks=pytest.mark.slow,
        ),
        ([], {"PORT": "99999"}, "error: PORT must be a whole number from 1 to 65535, got '99999'"),
        pytest.param(
            [], {"NNODES": "0"}, "error: NNODES must be a whole number from 1 up, got '0'", marks=pytest.mark.slow
        ),
        ([], {"MASTER_ADDR": ""}, "error: NNODES=2 needs also MASTER_ADDR (the first node's address)"),
        pytest.param(
            ["--resume", "a.pth"], {}, "error: --rdzv resumes the work dir's newest checkpoint", marks=pytest.mark.slow
        ),
    ],
)
def test_refused(nodes, options, environment, reason):
    code, err = finish(nodes.train(0, "c.py", "--rdzv", *options, **environment))[0]
    assert code == 2 and err.startswith(reason) and len(err.splitlines()) == 1


def test_an_evaluation_has_nothing_to_start_again(nodes):
    code, err = finish(nodes.start(0, "bash", ROOT / "tools" / "dist_test.sh", "c.py", 2, "last.pth", "--rdzv"))[0]
    assert code == 2 and "--rdzv" in err


@pytest.fixture
def whole(lab: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Train on one node with two processes, undisturbed."""

    def whole(config: str) -> Path:
        (tmp_path / "marker").touch()
        command = ["bash", str(ROOT / "tools" / "dist_train.sh"), config, "2", "--work-dir", "whole"]
        own = {"PYTHON": sys.executable, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        own |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run(command, env=os.environ | own, cwd=tmp_path, check=True, capture_output=True, timeout=120)
        (tmp_path / "marker").unlink()
        return tmp_path / "whole"

    return whole


def config(lab: Any, folder: Path, rank: int = -1, whom: str = "worker") -> str:
    (folder / "lose_hook.py").write_text(HOOK)
    hook = {"type": "Lose", "marker": str(folder / "marker"), "rank": rank, "whom": whom}
    imports = {"imports": ["lose_hook"], "allow_failed_imports": False}
    return lab.write(folder, custom_hooks=[hook], custom_imports=imports, env_cfg={"dist_cfg": {"timeout": 30}})


def assert_same(lab: Any, one: Path, other: Path) -> None:
    """Equal to the last bit, whatever was committed meanwhile."""
    states = [lab.state(work_dir) for work_dir in (one, other)]
    for state in states:
        state["circumstances"]["code"].pop("commit", None)
    assert lab.differences(*states) == []
    assert lab.records(one) == lab.records(other)


everywhere = pytest.mark.parametrize("nodes", ["namespaces", "loopback"], indirect=True)


@pytest.mark.slow
@everywhere
def test_two_nodes_train_as_one(nodes, lab, tmp_path, whole):
    path = config(lab, tmp_path)
    both = [nodes.train(node, path, "--work-dir", "run", NODE_RANK=str(node)) for node in (0, 1)]
    assert finish(*both) == [(0, ""), (0, "")]
    assert_same(lab, whole(path), tmp_path / "run")


@pytest.mark.slow
@everywhere
@pytest.mark.parametrize("rank", [0, 1])
def test_a_lost_worker(nodes, lab, tmp_path, whole, rank):
    path = config(lab, tmp_path, rank)
    undisturbed = whole(path)
    both = [nodes.train(node, path, "--rdzv", "--work-dir", "run") for node in (0, 1)]
    ended = finish(*both)
    assert [code for code, _ in ended] == [0, 0], ended
    said = "".join(err for _, err in ended)
    assert f"process {rank} was ended by SIGKILL" in said and "restart 1 of at most 3" in said
    assert (tmp_path / "marker").exists()
    assert_same(lab, undisturbed, tmp_path / "run")


@pytest.mark.slow
@everywhere
def test_a_lost_node(nodes, lab, tmp_path, whole):
    """Its workers go with the agent; the other node waits, and another one takes its place."""
    path = config(lab, tmp_path, rank=1, whom="agent")
    undisturbed = whole(path)
    keeper = nodes.train(0, path, "--rdzv", "--work-dir", "run")
    time.sleep(8)  # the first to come keeps the rendezvous, on the loopback as well
    lost = nodes.train(1, path, "--rdzv", "--work-dir", "run")
    wait_for(tmp_path / "marker")
    if finish(lost)[0][0] != -signal.SIGKILL:
        pytest.fail("the agent of the process that was to be lost is another one's")
    another = nodes.train(1, path, "--rdzv", "--work-dir", "run")
    ended = finish(keeper, another)
    assert [code for code, _ in ended] == [0, 0], ended
    assert_same(lab, undisturbed, tmp_path / "run")
