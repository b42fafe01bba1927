"""Config files as they lie on the disk: Python, which is executed, and YAML and JSON, which are data."""

import ast
import os
from pathlib import Path

from mmengine.config import Config

from openmix.engine.plain_yaml import yaml_as_data
from openmix.engine.static_config import KINDS, read_static
from openmix.errors import UserError

__all__ = ["files_of", "read_config"]

MOST_FILES = 200  # that a config may be based on, one by one; more are a mistake, or a trap


def read_config(path: str, import_modules: bool = True) -> Config:
    """Return what a config file says with its ``_base_`` files, and import what it wants imported.

    Python is executed: read only what you trust. YAML and JSON are data: nothing that they say is executed, and what
    they are based on has to be data as well, in Python no more than ``openmix check --static`` lets pass.

    Args:
        path: the file: .py, .json, .yaml or .yml.
        import_modules: import the modules of ``custom_imports``, which a config in YAML or JSON cannot have.

    Raises:
        UserError: the file cannot be read; the message names the file, or that of its bases which cannot.
    """
    if not os.path.isfile(path):
        raise UserError(f"no config file {path}")
    if Path(path).suffix not in KINDS:
        raise UserError(f"{path}: a config is one of {', '.join(KINDS)}")
    if not path.endswith(".py"):
        _check_data(path, import_modules)
    try:
        files_of(path)  # mmengine's own messages name neither file nor line
        with yaml_as_data():
            return Config.fromfile(path, lazy_import=False, import_custom_modules=import_modules)
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: a file that it is based on is missing: {error}") from error
    except SyntaxError as error:
        where, line = f"{error.filename}, line {error.lineno}", (error.text or "").strip()
        merged = "; it holds the marks of an unresolved merge" if line.startswith(("<<<<", "====", ">>>>")) else ""
        raise UserError(f"{where}: this is not Python: {error.msg}: {line}{merged}") from error
    except (Exception, SystemExit) as error:  # the file is a program: it may fail in any way
        raise UserError(f"{path} failed while it was read: {type(error).__name__}: {error}") from error


def _check_data(path: str, import_modules: bool) -> None:
    """Raise UserError for a config in YAML or JSON that reading would run code of, in itself or in its bases."""
    reading = read_static(path)
    if code := reading.code + (reading.imports if import_modules else []):  # what is not imported does no harm
        raise UserError(f"{path} is no config of data alone, and one in YAML or JSON must be:\n" + "\n".join(code))


def files_of(path: str) -> list[str]:
    """Return a config file and all that it is based on, the nearest first.

    Raises:
        SyntaxError: one of them is not Python; it names the file.
        UserError: one of them cannot be read as text or holds no mapping; there are too many, or they go in a circle.
    """
    found: list[str] = []
    with yaml_as_data():
        _collect(path, found, ())
    return found


def _collect(path: str, found: list[str], around: tuple[str, ...]) -> None:
    if os.path.realpath(path) in around:
        raise UserError(f"{path} is based on itself: {' on '.join([*around, path])}")
    found.append(path)
    if len(found) > MOST_FILES:
        raise UserError(f"{found[0]} is based on more than {MOST_FILES} files")
    here = os.path.dirname(path)
    for base in _bases(path):
        file = os.path.relpath(os.path.join(here, base))
        if os.path.isfile(file):  # otherwise mmengine says so, or looks for it in a package
            _collect(file, found, (*around, os.path.realpath(path)))


def _bases(path: str) -> list[str]:
    try:
        if path.endswith(".py"):
            ast.parse(Path(path).read_text(encoding="utf-8"), path)
        bases = Config._get_base_files(path)
    except SyntaxError as error:
        error.filename = error.filename or path
        raise
    except Exception as error:
        raise UserError(f"{path} failed while it was read: {type(error).__name__}: {error}") from error
    if wrong := [base for base in bases if not isinstance(base, str)]:
        raise UserError(f"{path}: _base_ is a file or a list of files, got {wrong[0]!r}")
    return bases
