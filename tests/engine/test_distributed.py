"""Who a process is among all, and what all do together."""

import pytest
import torch

from openmix.engine.distributed import World, join_world, main_only, sum_over_ranks
from openmix.errors import UserError

TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
SLURM = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "1", "MASTER_ADDR": "127.0.0.1"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No launcher's variables, no GPU, and no process group afterwards."""
    for name in (*TORCHRUN, *SLURM, "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def free_port() -> str:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def test_a_single_process_needs_no_group():
    assert join_world() == World(0, 1, torch.device("cpu"))
    assert join_world("none").is_main
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(("launcher", "variables"), [("pytorch", TORCHRUN), ("slurm", SLURM)])
def test_launchers_tell_by_the_environment(monkeypatch, launcher, variables):
    for name, value in {**variables, "MASTER_PORT": free_port()}.items():
        monkeypatch.setenv(name, value)
    assert join_world(launcher) == World(0, 1, torch.device("cpu"))
    assert torch.distributed.get_backend() == "gloo"


@pytest.mark.parametrize(("launcher", "variables"), [("pytorch", TORCHRUN), ("slurm", SLURM)])
def test_what_the_environment_lacks_is_named(monkeypatch, launcher, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=f"--launcher {launcher} needs MASTER_PORT in the environment"):
        join_world(launcher)


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in {**TORCHRUN, "LOCAL_RANK": "2", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"process 2 of this machine has no GPU: it has 2; start 2 processes, or set"):
        join_world("pytorch")


class TestMainOnly:
    def test_rank_0_acts(self):
        calls: list[int] = []
        main_only(World(0, 2), lambda: calls.append(0))
        main_only(World(1, 2), lambda: calls.append(1))
        assert calls == [0]

    def test_its_error_is_raised(self):
        def fail() -> None:
            raise UserError("wrong")

        with pytest.raises(UserError, match="wrong"):
            main_only(World(), fail)

    def test_all_processes_stop_alike(self, ranks):
        """Nobody waits for one that has left."""
        said = ranks(2, "main_only_fails")
        assert said == ["the work dir is wrong", "rank 0 found the input wrong"]


def test_sum_is_over_all_processes(ranks):
    assert sum_over_ranks(torch.ones(2)).tolist() == [1.0, 1.0]
    assert ranks(3, "sum_of_ranks") == [6.0] * 3
