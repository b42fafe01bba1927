"""Addresses and interfaces: those of the loopback, and what `ip` says of the machine."""

import json
import os
import shutil
import socket
import subprocess
import sys

import pytest

from openmix.engine.distributed import join_world
from openmix.engine.network import address_towards, interface_towards, is_own_address
from openmix.errors import Reported

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems are not asked")


@pytest.mark.parametrize(("host", "own"), [("127.0.0.1", True), ("localhost", True), ("192.0.2.7", False)])
def test_whose_an_address_is(host, own):
    assert is_own_address(host) is own


def test_a_name_that_leads_nowhere():
    name = "no-such-host.invalid"
    assert not is_own_address(name)
    assert address_towards(name, 80) is None
    assert interface_towards(name, 80) is None


@LINUX
def test_the_loopback():
    assert interface_towards("127.0.0.1", 29500) in {name for _, name in socket.if_nameindex()}
    assert address_towards("127.0.0.1", 29500) == "127.0.0.1"


@LINUX
@pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip, of iproute2")
def test_every_interface_leads_to_its_own_address():
    done = subprocess.run(["ip", "-4", "-json", "address"], capture_output=True, text=True, check=True)
    found = {link["addr_info"][0]["local"]: link["ifname"] for link in json.loads(done.stdout) if link.get("addr_info")}
    assert found
    for address, name in found.items():
        assert interface_towards(address, 1) == name
        assert address_towards(address, 1) == address
        assert is_own_address(address)


@LINUX
@pytest.mark.parametrize("given", [None, "mine0"])
def test_gloo_is_told_unless_somebody_has(monkeypatch, given):
    seen = {}
    monkeypatch.setattr("torch.distributed.init_process_group", lambda *_, **__: seen.update(os.environ))
    variables = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", given or "")
    if given is None:
        monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    join_world("pytorch")
    assert seen["GLOO_SOCKET_IFNAME"] == (given or interface_towards("127.0.0.1", 1))
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")


def test_gloo_that_cannot_connect_is_a_message(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Gloo connectFullMesh failed with [pair.cc:152] timed out connecting\nframe #0: ...")

    monkeypatch.setattr("torch.distributed.init_process_group", fail)
    variables = {
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "0",
        "SLURM_NTASKS": "2",
        "MASTER_ADDR": "::1",
        "MASTER_PORT": "1",
    }
    for name, value in {**variables, "GLOO_SOCKET_IFNAME": "lo"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        Reported, match=r"process 1 of 2 did not meet the others at ::1:1 within 3 s: Gloo connect.*connecting$"
    ):
        join_world("slurm", timeout=3)
