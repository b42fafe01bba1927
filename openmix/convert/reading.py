"""OpenMixup's config files as plain values."""

import ast
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.fileio import YamlHandler
from mmengine.fileio.handlers.registry_utils import file_handlers

from openmix.errors import UserError

__all__ = ["read_old_config"]

NEEDED = ("model", "data", "optimizer")


class _Loader(yaml.SafeLoader):
    """Reads YAML as data, with tuples, which mmcv writes."""


def _tuple(loader: _Loader, node: yaml.SequenceNode) -> tuple[Any, ...]:
    return tuple(loader.construct_sequence(node))


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _tuple)


class _SafeYaml(YamlHandler):
    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        return super().load_from_fileobj(file, **{"Loader": _Loader, **kwargs})


@contextmanager
def _yaml_as_data() -> Iterator[None]:
    """Keep mmengine from executing what YAML names by tags such as !!python/object/apply."""
    before = {kind: file_handlers[kind] for kind in ("yaml", "yml")}
    file_handlers.update(dict.fromkeys(before, _SafeYaml()))
    try:
        yield
    finally:
        file_handlers.update(before)


def read_old_config(path: str) -> dict[str, Any]:
    """Read an OpenMixup config with its ``_base_`` files: Python, which is executed, JSON or YAML, which are not.

    Raises:
        UserError: it cannot be read, or is no config of OpenMixup.
    """
    if not Path(path).is_file():
        raise UserError(f"no config file {path}")
    try:
        with _yaml_as_data():
            _parse(path)  # mmengine's own message names neither file nor line
            # what it would import are OpenMixup's modules, of which nothing is needed to read it
            old = Config.fromfile(path, lazy_import=False, import_custom_modules=False).to_dict()
    except SyntaxError as error:
        merged = (error.text or "").startswith(("<<<<", "====", ">>>>"))
        marks = "; it holds the marks of an unresolved merge" if merged else ""
        raise UserError(f"{error.filename}, line {error.lineno}: this is not Python: {error.msg}{marks}") from error
    except (Exception, SystemExit) as error:  # the file is a program: it may fail in any way
        raise UserError(f"{path} failed while it was read: {type(error).__name__}: {error}") from error
    if "train_dataloader" in old:
        raise UserError(f"{path} is a config of openmix already: it has a train_dataloader")
    if missing := [key for key in NEEDED if not isinstance(old.get(key), dict)]:
        raise UserError(f"{path} is no training config of OpenMixup: it has no {', '.join(missing)}")
    return old


def _parse(path: str) -> None:
    """Raise SyntaxError, with its file and line, if a config or one that it is based on is not Python."""
    if path.endswith(".py"):
        ast.parse(Path(path).read_text(), path)
    for base in Config._get_base_files(path):
        file = os.path.normpath(Path(path).parent / base)
        if os.path.isfile(file):
            _parse(file)
