"""The ``openmix`` command: one file a subcommand, found by name.

A subcommand's module has a docstring, ``add_arguments(parser)`` and ``main(arguments) -> exit code``.
Exit codes: 0 done; 2 the user's input is wrong; 75 stopped by a signal after saving; 1 anything else.
"""

import argparse
import ast
import errno
import importlib
import os
import pkgutil
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from openmix.errors import Reported
from openmix.version import __version__

__all__ = ["main", "process", "run_command", "run_script"]

RANK_AND_SIZE = (("RANK", "SLURM_PROCID"), ("WORLD_SIZE", "SLURM_NTASKS"))  # torchrun's names, and Slurm's


class _Process:
    """This process: whether it ends with its command, whose exit code is then its own."""

    ends_with_command = False


process = _Process()


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``openmix SUBCOMMAND ...`` and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    parser = argparse.ArgumentParser(
        prog="openmix",
        description="Train and evaluate image models with mixing.",
        epilog="\n".join(f"  {name:10}{_first_line(name)}" for name in names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"openmix {__version__}")
    parser.add_argument("command", choices=names, help="what to do; 'openmix COMMAND --help' says more")
    command = parser.parse_args(arguments[:1]).command
    run = run_script if argv is None else run_command
    return run(command, arguments[1:])


def _first_line(name: str) -> str:
    """Return what a subcommand's docstring says first, without the imports that running it would cost."""
    source = (Path(__path__[0]) / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]


def run_script(name: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one subcommand on the command line as all that this process does, and return the code to exit with.

    One of several processes that work together ends here.
    """
    process.ends_with_command = True
    try:
        code = run_command(name, argv, prog)
    except Exception:
        traceback.print_exc()
        code = 1
    if "torch.distributed" in sys.modules:
        from openmix.engine.distributed import leave_at_once

        leave_at_once(code)
    return code


def run_command(name: str, argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one subcommand on its arguments and return its exit code; what it has to report becomes one message."""
    try:
        module = importlib.import_module(f"openmix.commands.{name}")
        parser = argparse.ArgumentParser(prog=prog or f"openmix {name}", description=module.__doc__)
        module.add_arguments(parser)
        return _run(module, parser.parse_args(argv))
    except KeyboardInterrupt:
        _say("interrupted")
        return 130


def _run(module: ModuleType, arguments: argparse.Namespace) -> int:
    try:
        return module.main(arguments)
    except Reported as report:
        # all processes find the same mistake in the input and stop together; a NaN may be one process's alone
        launched = getattr(arguments, "launcher", "none") != "none"
        others_say_it = launched and os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) != "0"
        if report.exit_code == 1 or not others_say_it:
            error = "error: " if report.exit_code < 75 else ""
            _say(f"{error}{_speaker() if launched and report.exit_code == 1 else ''}{report}")
        return report.exit_code
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:  # of a path that somebody typed; other errors have met their messages
            raise
        _say(f"error: a path is longer than the file system allows: {error.filename}")
        return 2


def _speaker() -> str:
    """Say which of several processes speaks, and where it runs, if it does not speak for all."""
    rank, size = (os.environ.get(a, os.environ.get(b, "")) for a, b in RANK_AND_SIZE)
    return f"process {rank} of {size} on {socket.gethostname()}: " if size not in ("", "1") else ""


def _say(text: str) -> None:
    """Print a line to stderr as a whole: other processes print theirs at the same time."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
