"""OpenMixup's configs (mmcv 1.x keys) to openmix's."""

import ast
import os
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from mmengine.config import Config

from openmix.convert.data import convert_data
from openmix.convert.mixing import PRESET
from openmix.convert.model import convert_model
from openmix.convert.report import Report, Section
from openmix.convert.runtime import convert_evaluation, convert_rest, convert_runtime
from openmix.convert.schedule import convert_optimizer, convert_schedule, convert_train_cfg
from openmix.convert.spell import spell_config
from openmix.engine.config import load_config
from openmix.errors import UserError
from openmix.version import __version__

__all__ = ["check_text", "convert_config", "read_old_config"]

NEEDED = ("model", "data", "optimizer")
ORDER = (
    "model", "data_preprocessor", "train_dataloader", "val_dataloader", "test_dataloader", "optim_wrapper",
    "param_scheduler", "train_cfg", "default_hooks", "custom_hooks", "vis_backends", "randomness", "load_from",
)  # fmt: skip


def read_old_config(path: str) -> dict[str, Any]:
    """Read an OpenMixup config with its ``_base_`` files: Python, which is executed, JSON or YAML.

    Raises:
        UserError: it cannot be read, or is no config of OpenMixup.
    """
    if not Path(path).is_file():
        raise UserError(f"no config file {path}")
    try:
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


def convert_config(path: str, preset: str | None = None) -> tuple[str, Report]:
    """Convert an OpenMixup config file.

    Args:
        path: of the old one, see :func:`read_old_config`.
        preset: 'openmixup' keeps what OpenMixup's methods do otherwise than their authors' code; None does not.

    Returns:
        The text of a config file that needs no other, and what became of each key. Where the report has refusals, the
        text is not fit for use.

    Raises:
        UserError: the old one cannot be read.
    """
    report = Report()
    top = Section(read_old_config(path), "", report)
    model, load_from = convert_model(top.section("model"), preset)
    evaluation = convert_evaluation(top)
    new = {"model": model, **convert_data(top, evaluation, model["head"]["num_classes"])}
    base_lr = top.get("optimizer", {}).get("lr", 0)
    new["optim_wrapper"] = convert_optimizer(top)
    schedule = convert_schedule(top, base_lr)
    new |= {"param_scheduler": schedule} if schedule else {}
    new["train_cfg"] = convert_train_cfg(top, evaluation.interval)
    new |= convert_runtime(top, model["type"])
    if load_from:
        new.setdefault("load_from", load_from)
    convert_rest(top)
    return spell_config(_docstring(path, preset, report), {key: new[key] for key in ORDER if key in new}), report


def _docstring(path: str, preset: str | None, report: Report) -> str:
    """Return what a converted file says of itself."""
    how = "its ports' deviations kept" if preset == PRESET else "mixing as the methods' authors have it"
    text = f"{Path(path).name} of OpenMixup, converted by openmix {__version__}, {how}.\n\n"
    lost = [entry.key for entry in report.of("no equivalent")]
    if lost:
        text += textwrap.fill(f"Without an equivalent for: {', '.join(lost)}.", 120, break_on_hyphens=False) + "\n"
    return text.replace("\\", "\\\\").replace('"""', "'''") + "It claims no figure.\n"


def check_text(text: str) -> None:
    """Check a config's text as ``openmix check`` checks its file.

    Raises:
        UserError: it is not right.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "converted.py"
        file.write_text(text)
        try:
            load_config(str(file))
        except UserError as error:
            raise UserError(str(error).replace(f"{file}: ", "")) from error
