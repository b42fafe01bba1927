"""A run from a config: what ``train.py``, ``test.py`` and ``openmix check --dry-run`` do."""

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from openmix.engine.build import build_hooks, build_loader, check_build, check_classes, dry_config, initialise, seed_of
from openmix.engine.checkpoint import CheckpointFolder, load_checkpoint
from openmix.engine.config import config_hash, config_text
from openmix.engine.distributed import World, main_only
from openmix.engine.evaluate import evaluate
from openmix.engine.log import Reporter, open_logger
from openmix.engine.preprocess import Normalize
from openmix.engine.records import describe_run, write_json
from openmix.engine.settings import Preprocessor
from openmix.engine.trainer import Stopped, Trainer
from openmix.errors import UserError
from openmix.tasks.base import Task

__all__ = ["dry_run", "test", "train"]


def train(
    cfg: Config, config_path: str, world: World, resume: bool | str = False, quiet: bool = False
) -> dict[str, Any]:
    """Train as a checked config says and return the last validation's metrics.

    Args:
        cfg: from :func:`openmix.engine.config.load_config`.
        config_path: where it came from, for the record.
        world: the processes that train together.
        resume: True continues the work dir's newest good checkpoint, and starts afresh where there is none; a path
            continues that checkpoint. False starts afresh; an earlier run in the work dir is moved aside.
        quiet: say nothing on the terminal.

    Raises:
        UserError: a value is wrong, data are missing, a checkpoint does not fit.
        Stopped: SIGTERM or SIGUSR1 came, and a checkpoint is saved.
    """
    check_build(cfg, world)
    train_loader = build_loader(cfg, "train_dataloader", world)
    val_loader = build_loader(cfg, "val_dataloader", world)
    assert train_loader is not None
    _ = train_loader.steps_per_epoch  # a set too small for a step is found now
    work_dir = Path(cfg.work_dir)
    warnings: list[str] = []
    state = _checkpoint_to_resume(work_dir, resume, warnings)
    main_only(world, lambda: _prepare(work_dir, fresh=state is None))
    logger, console = open_logger(work_dir, world, quiet)
    for warning in warnings:
        logger.warning(warning)
    task = initialise(cfg, world.device)
    check_classes(task, train_loader, "train_dataloader")
    if cfg.get("load_from"):
        load_weights(task, load_checkpoint(cfg.load_from))
    reporter = Reporter(work_dir, cfg.get("vis_backends") or [], world, logger, console)
    settings = {**cfg, "config_text": config_text(cfg)}
    trainer = Trainer(settings, task, train_loader, val_loader, build_hooks(cfg), reporter, world)
    with _recorded(cfg, config_path, work_dir, world, resumed_at=state["step"] if state else None):
        logger.info(
            "%s: %s parameters, %s steps an epoch, %s steps in all, on %s x %s; results go to %s",
            config_path, f"{sum(p.numel() for p in task.parameters()):,}", trainer.steps_per_epoch,
            trainer.max_iters, world.size, world.device, work_dir,
        )  # fmt: skip
        if state is not None:
            logger.info("resuming after step %s", state["step"])
            reporter.metrics.keep_until(state["step"]) if world.is_main else None
        try:
            return trainer.train(state)
        except Stopped as stopped:
            logger.info("%s; --resume continues from there", stopped)
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
    check_build(cfg, world)
    loader = build_loader(cfg, f"{split}_dataloader", world)
    if loader is None:
        raise UserError(f"the config has no {split}_dataloader to evaluate")
    task = initialise(cfg, world.device)
    check_classes(task, loader, f"{split}_dataloader")
    load_weights(task, state)
    normalize = Normalize(Preprocessor(**cfg.get("data_preprocessor", {})), world.device)
    return evaluate(task, loader, normalize, world)


def dry_run(cfg: Config, work_dir: str, world: World) -> list[str]:
    """Train 2 steps and validate one batch in ``work_dir``; return notes on what could not be tried."""
    check_build(cfg, world)
    dry, notes = dry_config(cfg, work_dir)
    train(dry, "dry run", world, quiet=True)
    return notes


def load_weights(task: Task, state: Mapping[str, Any]) -> None:
    """Load a checkpoint's weights, the EMA's where it has them.

    Raises:
        UserError: they are another network's.
    """
    weights = state["model"]
    if state["ema"] is not None:
        prefix = "module."
        weights = {k[len(prefix) :]: v for k, v in state["ema"].items() if k.startswith(prefix)}
    try:
        task.load_state_dict(weights)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:4]]
        raise UserError(f"the checkpoint holds another network than the config's: {' '.join(lines)[:400]}") from error


def _checkpoint_to_resume(work_dir: Path, resume: bool | str, warnings: list[str]) -> dict[str, Any] | None:
    if isinstance(resume, str):
        return load_checkpoint(resume)
    if not resume:
        return None
    found = CheckpointFolder(work_dir / "checkpoints").newest_good(warnings.append)
    return found[1] if found else None


def _prepare(work_dir: Path, fresh: bool) -> None:
    """Make the work dir; a fresh run moves what an earlier one left there to ``earlier/N``."""
    try:
        work_dir.mkdir(parents=True, exist_ok=True)
        probe = work_dir / ".writable"
        probe.touch()
        probe.unlink()
        old = [p for p in work_dir.iterdir() if p.name != "earlier"]
        if fresh and (work_dir / "run.json").exists():
            taken = [int(p.name) for p in (work_dir / "earlier").glob("*") if p.name.isdigit()]
            aside = work_dir / "earlier" / str(max(taken, default=0) + 1)
            aside.mkdir(parents=True)
            for path in old:
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
