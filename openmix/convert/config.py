"""OpenMixup's configs (mmcv 1.x keys) to openmix's."""

import tempfile
import textwrap
from pathlib import Path

from openmix.convert.data import convert_data
from openmix.convert.mixing import PRESET
from openmix.convert.model import convert_model
from openmix.convert.optimizer import convert_optimizer
from openmix.convert.reading import read_old_config
from openmix.convert.report import Report, Section
from openmix.convert.runtime import convert_evaluation, convert_rest, convert_runtime
from openmix.convert.schedule import convert_schedule, convert_train_cfg
from openmix.convert.spell import spell_config
from openmix.engine.config import load_config
from openmix.errors import UserError
from openmix.version import __version__

__all__ = ["check_text", "convert_config"]

ORDER = (
    "model", "data_preprocessor", "train_dataloader", "val_dataloader", "test_dataloader", "optim_wrapper",
    "param_scheduler", "train_cfg", "default_hooks", "custom_hooks", "vis_backends", "randomness", "load_from",
)  # fmt: skip


def convert_config(path: str, preset: str | None = None) -> tuple[str, Report]:
    """Convert an OpenMixup config file.

    Args:
        path: of the old one, see :func:`openmix.convert.reading.read_old_config`.
        preset: 'openmixup' keeps what OpenMixup's methods do otherwise than their authors' code; None does not.

    Returns:
        The text of a config file that needs no other, and what became of each key. Where the report has refusals, the
        text is not fit for use.

    Raises:
        UserError: the old one cannot be read, or a value of it is of the wrong type.
    """
    report = Report()
    top = Section(read_old_config(path), "", report)
    model, load_from = convert_model(top, preset)
    rates = _rates(Section(top.get("optimizer"), "optimizer", report), "mix_block" in model)
    optim_wrapper = convert_optimizer(top)
    accumulate = optim_wrapper.get("accumulative_counts", 1)
    train_cfg = convert_train_cfg(top, accumulate)
    evaluation = convert_evaluation(top, train_cfg, accumulate)
    if evaluation.interval is not None:
        train_cfg["val_interval"] = evaluation.interval
    new = {"model": model, **convert_data(top, evaluation, model["head"]["num_classes"])}
    new |= {"optim_wrapper": optim_wrapper, "train_cfg": train_cfg}
    schedule = convert_schedule(top, rates, train_cfg, accumulate)
    new |= {"param_scheduler": schedule} if schedule else {}
    new |= convert_runtime(top, model["type"], "max_epochs" in train_cfg, accumulate)
    new |= {"load_from": load_from} if load_from else {}
    convert_rest(top)
    return spell_config(_docstring(path, preset, report), {key: new[key] for key in ORDER if key in new}), report


def _rates(optimizer: Section, has_mix_block: bool) -> dict[str, float]:
    """Return the learning rates at which schedules begin: of all parameters, and of a mix block."""
    rates = {"": optimizer.read("lr", float, 0)}
    if has_mix_block:
        own = Section(optimizer.get("paramwise_options"), optimizer.key("paramwise_options"), optimizer.report)
        block = Section(own.get("mix_block"), own.key("mix_block"), optimizer.report)
        rates["mix_block"] = block.read("lr", float, rates[""] * block.read("lr_mult", float, 1))
    return rates


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
