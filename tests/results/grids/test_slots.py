"""How GPUs and cores are shared out."""

import pytest

from openmix.errors import UserError
from openmix.results.grids.slots import cpu_slots, gpu_slots


@pytest.fixture(autouse=True)
def no_threads_by_the_user(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_cpu_slots_share_the_cores_and_hide_the_gpus():
    slots = cpu_slots(3, nproc=2, cores=16)
    assert [slot.name for slot in slots] == ["cpu 0", "cpu 1", "cpu 2"]
    assert all(slot.environment == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"} for slot in slots)
    assert cpu_slots(4, nproc=1, cores=2)[0].environment["OMP_NUM_THREADS"] == "1"


def test_the_users_number_of_threads_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert cpu_slots(3, nproc=2, cores=16)[0].environment["OMP_NUM_THREADS"] == "5"


def test_gpu_slots_spread_before_they_pack():
    slots = gpu_slots(["4", "MIG-7"], per_gpu=2, nproc=1, cores=16)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["4", "MIG-7", "4", "MIG-7"]
    assert len({slot.name for slot in slots}) == 4
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {"4"}


def test_runs_of_several_processes_take_several_gpus():
    slots = gpu_slots(["0", "1", "2", "3"], per_gpu=1, nproc=2, cores=16)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots] == ["0,1", "2,3"]
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots} == {"4"}
    with pytest.raises(UserError, match="--nproc 3 takes 3 GPUs a run, and 4 cannot be divided so"):
        gpu_slots(["0", "1", "2", "3"], per_gpu=1, nproc=3, cores=16)
