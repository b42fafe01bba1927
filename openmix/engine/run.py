"""A run from a config: what ``train.py``, ``test.py`` and ``openmix check --dry-run`` do."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config

from openmix.engine.build import build_hooks, check_classes, initialise, open_loader, seed_of
from openmix.engine.checkpoint import CheckpointFolder, final_weights, load_checkpoint, load_weights
from openmix.engine.config import config_hash, config_text
from openmix.engine.distributed import World, main_only
from openmix.engine.evaluate import evaluate
from openmix.engine.log import Reporter, open_logger
from openmix.engine.preprocess import Normalize
from openmix.engine.records import MetricsFile, describe_run, write_json
from openmix.engine.settings import Preprocessor
from openmix.engine.trainer import Stopped, Trainer
from openmix.engine.trial import dry_config
from openmix.errors import UserError

__all__ = ["dry_run", "test", "train"]

# what a run puts into its work dir; other files there are not its own, and stay
RUN_FILES = ("checkpoints", "config.py", "metrics.jsonl", "run.json", "train.log", "vis_data")


def train(
    cfg: Config, config_path: str, world: World, resume: bool | str = False, quiet: bool = False
) -> dict[str, Any]:
    """Train as a checked config says and return the last validation's metrics.

    Args:
        cfg: from :func:`openmix.engine.config.load_config`.
        config_path: where it came from, for the record.
        world: the processes that train together.
        resume: True continues the work dir's newest good checkpoint, and starts afresh where there is none; a path
            continues that checkpoint; False starts afresh. An earlier run in the work dir that is not continued, and
            what it did after the checkpoint that is, is moved to ``earlier/N``.
        quiet: say nothing on the terminal.

    Raises:
        UserError: a value is wrong, data are missing, a checkpoint does not fit.
        NonFiniteError: the loss or the weights are no numbers any more.
        Stopped: SIGTERM or SIGUSR1 came, and a checkpoint is saved.
    """
    work_dir, warnings = Path(cfg.work_dir), []
    state = _checkpoint_to_resume(work_dir, resume, warnings)
    logger, console = open_logger(work_dir, world, quiet)
    with (
        contextlib.closing(Reporter(work_dir, cfg.get("vis_backends") or [], world, logger, console)) as reporter,
        open_loader(cfg, "train_dataloader", world) as train_loader,
        open_loader(cfg, "val_dataloader", world) as val_loader,
    ):
        assert train_loader is not None
        task = initialise(cfg, world.device)
        check_classes(task, train_loader, "train_dataloader")
        if cfg.get("load_from") and state is None:
            load_weights(task, final_weights(load_checkpoint(cfg.load_from)))
        settings = {**cfg, "config_text": config_text(cfg)}
        trainer = Trainer(settings, task, train_loader, val_loader, build_hooks(cfg), reporter, world)
        if state is not None:
            trainer.load_state_dict(state)
        # what is wrong with the input has been found by now, and nothing has been written
        continues = state is not None and _is_of(resume, work_dir)
        main_only(world, lambda: _prepare(work_dir, trainer.iter if continues else None))
        for warning in warnings:
            logger.warning(warning)
        with _recorded(cfg, config_path, work_dir, world, resumed_at=state["step"] if state else None):
            logger.info(
                "%s: %s parameters, %s steps an epoch, %s steps in all, on %s x %s; results go to %s",
                config_path, f"{sum(p.numel() for p in task.parameters()):,}", trainer.steps_per_epoch,
                trainer.max_iters, world.size, world.device, work_dir,
            )  # fmt: skip
            if state is not None:
                logger.info("resuming after step %s", trainer.iter)
            return _run(trainer, world)


def _run(trainer: Trainer, world: World) -> dict[str, Any]:
    try:
        return trainer.train()
    except Stopped as stopped:
        trainer.logger.info("%s; --resume continues from there", stopped)
        raise
    except UserError as error:  # the main process may know nothing of an image that only this one has met
        if not world.is_main:
            trainer.logger.error("process %s: %s", world.rank, error)
        raise


def test(cfg: Config, checkpoint: str, world: World, split: str = "val") -> dict[str, Any]:
    """Evaluate a checkpoint: its EMA weights where it has them, as the run's own validation did.

    Args:
        cfg: from :func:`openmix.engine.config.load_config`.
        checkpoint: a file that training wrote.
        world: the processes that share the work.
        split: 'val' evaluates ``val_dataloader``, 'test' evaluates ``test_dataloader``.

    Raises:
        UserError: the checkpoint is missing, damaged, or another network's; the config has no such loader.
    """
    state = load_checkpoint(checkpoint)
    key = f"{split}_dataloader"
    with open_loader(cfg, key, world) as loader:
        if loader is None:
            raise UserError(f"the config has no {key} to evaluate")
        task = initialise(cfg, world.device)
        check_classes(task, loader, key)
        load_weights(task, final_weights(state))
        normalize = Normalize(Preprocessor(**cfg.get("data_preprocessor", {})), world.device)
        return evaluate(task, loader, normalize, world)


def dry_run(cfg: Config, work_dir: str, world: World) -> list[str]:
    """Train 2 steps and validate one batch in ``work_dir``; return notes on what could not be tried."""
    dry, notes = dry_config(cfg, work_dir)
    train(dry, "dry run", world, quiet=True)
    return notes


def _checkpoint_to_resume(work_dir: Path, resume: bool | str, warnings: list[str]) -> dict[str, Any] | None:
    if isinstance(resume, str):
        return load_checkpoint(resume)
    if not resume:
        return None
    found = CheckpointFolder(work_dir / "checkpoints").newest_good(warnings.append)
    return found[1] if found else None


def _is_of(resume: bool | str, work_dir: Path) -> bool:
    """Tell whether the checkpoint to be resumed is of the run in ``work_dir``, not brought from elsewhere."""
    return not isinstance(resume, str) or Path(resume).resolve().parent == (work_dir / "checkpoints").resolve()


def _prepare(work_dir: Path, step: int | None) -> None:
    """Make the work dir ready for a run that continues after ``step`` what is there, or for another one (None).

    What is not continued, an earlier run or what it did after that step, is moved to ``earlier/N``.
    """
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        probe = work_dir / ".writable"
        probe.touch()
        probe.unlink()
        if step is None:
            outdated = [path for name in RUN_FILES if (path := work_dir / name).exists()]
        else:
            outdated = CheckpointFolder(work_dir / "checkpoints").after(step)
            MetricsFile(work_dir / "metrics.jsonl").keep_until(step)
        if outdated:
            taken = [int(path.name) for path in (work_dir / "earlier").glob("*") if path.name.isdigit()]
            aside = work_dir / "earlier" / str(max(taken, default=0) + 1)
            aside.mkdir(parents=True)
            for path in outdated:
                shutil.move(path, aside / path.name)
    except OSError as error:
        raise UserError(
            f"cannot write to work dir {work_dir}: {error.strerror}; name another with --work-dir"
        ) from error


@contextlib.contextmanager
def _recorded(cfg: Config, config_path: str, work_dir: Path, world: World, resumed_at: int | None) -> Iterator[None]:
    """Keep ``config.py`` and ``run.json``, whose status follows the run."""
    if not world.is_main:
        yield
        return
    (work_dir / "config.py").write_text(config_text(cfg))
    record = describe_run(config_hash(cfg), config_path, seed_of(cfg), world)
    record["resumed_at"] = resumed_at
    write_json(work_dir / "run.json", record)
    status = "failed"
    try:
        yield
        status = "done"
    except Stopped:
        status = "stopped"
        raise
    finally:
        write_json(
            work_dir / "run.json", {**record, "status": status, "end_time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        )
