"""What the tests of the commands share: a command run as its script runs it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from openmix.commands import run_command

Said = tuple[int, str, str]


@pytest.fixture
def run(capfd, monkeypatch) -> Callable[..., Said]:
    """Run a subcommand as its script does, on the CPU; return the exit code, stdout and stderr."""
    monkeypatch.setattr("openmix.engine.distributed._device", lambda local_rank: torch.device("cpu"))

    def run(command: str, *arguments: Any) -> Said:
        capfd.readouterr()
        try:
            code = run_command(command, [str(a) for a in arguments])
        except SystemExit as end:  # argparse's way
            code = end.code
        return code, *capfd.readouterr()

    return run
