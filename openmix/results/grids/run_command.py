"""The command line that trains an entry of a study."""

import sys
from collections.abc import Callable
from pathlib import Path

import openmix
from openmix.errors import UserError
from openmix.results.grids.manifest import Entry, Manifest

__all__ = ["run_command"]

LAUNCHER = Path(openmix.__file__).parents[1] / "tools" / "launch.py"


def run_command(manifest: Manifest, nproc: int) -> Callable[[Entry, bool], list[str]]:
    """Return what makes the command lines: given an entry, and whether to continue what its work dir holds.

    Args:
        manifest: the study.
        nproc: processes a run.

    Raises:
        UserError: several are wanted, and the launcher is not there.
    """
    launcher = [str(LAUNCHER), str(nproc)] if nproc > 1 else []
    if launcher and not LAUNCHER.exists():
        raise UserError(
            f"--nproc {nproc} needs tools/launch.py of openmix's repository, which this installation lacks: "
            "install openmix from a clone with 'pip install -e'"
        )

    def command(entry: Entry, resume: bool) -> list[str]:
        work_dir = ["--work-dir", str(manifest.work_dir(entry))]
        # whatever becomes of the file until it is read: what is trained in the work dir is what the manifest has
        wanted = ["--config-hash", entry.config_hash, *(["--resume"] if resume else [])]
        train = ["-m", "openmix", "train", str(manifest.config(entry)), *work_dir, *wanted]
        return [sys.executable, *launcher, *train, *(["--launcher", "pytorch"] if launcher else [])]

    return command
