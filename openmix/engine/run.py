"""A run from a config: what ``train.py``, ``test.py`` and ``openmix check --dry-run`` do."""

import contextlib
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config

from openmix.engine.build import (
    build_hooks,
    check_classes,
    initialise,
    open_knn,
    open_loader,
    seed_of,
    without_weights,
)
from openmix.engine.checkpoint import load_checkpoint
from openmix.engine.checkpoint_folder import CheckpointFolder
from openmix.engine.config import config_text
from openmix.engine.config_hash import config_hash
from openmix.engine.damage import DamageLog
from openmix.engine.deterministic import deterministic_algorithms
from openmix.engine.distributed import World, check_same
from openmix.engine.evaluate import evaluate
from openmix.engine.log import Reporter, open_logger
from openmix.engine.origin import origin_of
from openmix.engine.preprocess import Normalize
from openmix.engine.records import describe_run
from openmix.engine.resuming import what_differs
from openmix.engine.settings import Preprocessor, Randomness
from openmix.engine.trainer import Stopped, Trainer
from openmix.engine.trial import dry_config
from openmix.engine.weights import check_trainable, fitted_weights, lacking
from openmix.engine.work_dir import cannot_hold, held, recorded
from openmix.errors import Reported, UserError
from openmix.models.weight_parts import ANEW

__all__ = ["dry_run", "test", "train"]

SAME_CONFIG = "start all with the same config and options"


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
        NonFiniteError: the loss, the gradient or the weights are no numbers any more.
        WriteError: the work dir cannot be written to any more.
        Stopped: SIGTERM or SIGUSR1 came, and a checkpoint is saved.
    """
    work_dir, warnings = Path(cfg.work_dir), []
    check_same(world, f"a config of hash {config_hash(cfg)}", SAME_CONFIG)
    found = _checkpoint_to_resume(work_dir, resume, warnings, world)
    logger, console = open_logger(work_dir, world, quiet)
    with (
        deterministic_algorithms(Randomness(**cfg.get("randomness", {})).deterministic),
        contextlib.closing(Reporter(work_dir, cfg.get("vis_backends") or [], world, logger, console)) as reporter,
        open_loader(cfg, "train_dataloader", world) as train_loader,
        open_loader(cfg, "val_dataloader", world) as val_loader,
        open_knn(cfg, world) as knn,
    ):
        assert train_loader is not None
        model = cfg.model if found is None else without_weights(cfg.model)
        task = initialise({**cfg, "model": model}, world.device)
        check_classes(task, train_loader, "train_dataloader")
        if cfg.get("load_from") and found is None:
            fitted = fitted_weights(cfg.load_from, task)
            beside = {key: value for key, value in task.state_dict().items() if key.startswith(ANEW)}
            task.load_state_dict({**fitted.weights, **beside})
            task.begin()
            for part in fitted.begins_anew:
                what = "classifier of this config's classes" if part == "head" else f"{part} that fits"
                warnings.append(f"{cfg.load_from} has no {what}: the {part} begins anew")
            check_trainable(fitted, task)
        settings = {**cfg, "config_text": config_text(cfg)}
        trainer = Trainer(settings, task, train_loader, val_loader, build_hooks(cfg), reporter, world, knn)
        if found is not None:
            warnings += _take_over(trainer, *found)
        # what is wrong with the input has been found by now, and nothing has been written
        continues = found is not None and _is_of(resume, work_dir)
        record = describe_run(config_hash(cfg), config_path, seed_of(cfg), world)
        needs = max(trainer.least_checkpoint(), found[0].stat().st_size if found else 0)
        record["resumed_at"] = None if found is None else trainer.iter
        if cfg.get("load_from"):
            record["pretrained"] = _pretrained(cfg.load_from, work_dir)
        with (
            held(work_dir, trainer.iter if continues else None, world, needs) as more_warnings,
            recorded(work_dir, config_text(cfg), record, world),
        ):
            for warning in [*warnings, *more_warnings]:
                logger.warning(warning)
            logger.info(
                "%s: %s parameters, epochs of %s, %s steps in all, on %s x %s; results go to %s",
                config_path, f"{sum(p.numel() for p in task.parameters()):,}", trainer.timeline,
                trainer.max_iters, world.size, world.device, work_dir,
            )  # fmt: skip
            if found is not None:
                left = "" if trainer.iter < trainer.max_iters else "; nothing is left to train"
                logger.info("resuming after step %s%s", trainer.iter, left)
            return _run(trainer, world)


def _pretrained(path: str, work_dir: Path) -> str | None:
    """Say what a run began with; where it is resumed and the file is gone, as it has said before."""
    if Path(path).is_file():
        return origin_of(path)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return json.loads((work_dir / "run.json").read_text()).get("pretrained")
    return None


def _run(trainer: Trainer, world: World) -> dict[str, Any]:
    try:
        return trainer.train()
    except Stopped as stopped:
        trainer.logger.info("%s; --resume continues from there", stopped)
        raise
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):  # torch tells of one that was killed wherever the run may be
            raise
        raise Reported(f"{error} (a process that reads images: out of memory?)") from error
    except UserError as error:  # the main process may know nothing of an image that only this one has met
        if not world.is_main:
            trainer.logger.error("%s", error)
        raise


def test(cfg: Config, checkpoint: str, world: World, split: str = "val") -> dict[str, Any]:
    """Evaluate a checkpoint: its EMA weights where it has them, as the run's own validation did, kNN included.

    Args:
        cfg: from :func:`openmix.engine.config.load_config`.
        checkpoint: a file that training wrote, or another program's weights of this network.
        world: the processes that share the work.
        split: 'val' evaluates ``val_dataloader``, 'test' evaluates ``test_dataloader``.

    Raises:
        UserError: the checkpoint is missing, damaged, or another network's; the config has no such loader.
    """
    key = f"{split}_dataloader"
    check_same(world, f"a config of hash {config_hash(cfg)}", SAME_CONFIG)
    with open_loader(cfg, key, world) as loader, open_knn(cfg, world, key) as knn:
        if loader is None:
            raise UserError(f"the config has no {key} to evaluate")
        task = initialise({**cfg, "model": without_weights(cfg.model)}, world.device)
        check_classes(task, loader, key)
        fitted = fitted_weights(checkpoint, task)
        if "head" in fitted.begins_anew:
            raise UserError(f"{checkpoint} has no classifier of the config's {task.num_classes} classes to evaluate")
        if parts := lacking(fitted, "projection" if knn and knn.settings.features == "projection" else "backbone"):
            raise UserError(f"{checkpoint} has no weights of {' and '.join(parts)}, which are to be evaluated")
        task.load_state_dict(fitted.weights)
        normalize = Normalize(Preprocessor(**cfg.get("data_preprocessor", {})), world.device)
        return evaluate(task, loader, normalize, DamageLog(open_logger(None, world)[0], world), knn)


def dry_run(cfg: Config, work_dir: str, world: World) -> list[str]:
    """Train 2 steps and validate one batch in ``work_dir``; return notes on what could not be tried."""
    dry, notes = dry_config(cfg, work_dir)
    train(dry, "dry run", world, quiet=True)
    problem = cannot_hold(Path(cfg.work_dir))
    return [*notes, problem] if problem else notes


def _checkpoint_to_resume(
    work_dir: Path, resume: bool | str, warnings: list[str], world: World
) -> tuple[Path, dict[str, Any]] | None:
    """Return the checkpoint to continue, which all processes must see alike: each reads it for itself."""
    found, problem = None, None
    try:
        if isinstance(resume, str):
            found = Path(resume), load_checkpoint(resume)
        elif resume:
            found = CheckpointFolder(work_dir / "checkpoints").newest_good(warnings.append)
    except UserError as error:
        problem = error
    seen = f"step {found[1].get('step')} of {found[0].name}" if found else "no checkpoint that it could continue"
    check_same(world, seen, "the work dir and its checkpoints must lie on a file system that all processes share")
    if problem:
        raise problem
    return found


def _take_over(trainer: Trainer, path: Path, state: dict[str, Any]) -> list[str]:
    """Let a trainer continue from a checkpoint, and return what is to be said of it.

    Raises:
        UserError: it does not fit; the message names it.
    """
    try:
        trainer.load_state_dict(state)
        return what_differs(state, {"config": trainer.config_text, "circumstances": trainer.circumstances})
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _is_of(resume: bool | str, work_dir: Path) -> bool:
    """Tell whether the checkpoint to be resumed is of the run in ``work_dir``, not brought from elsewhere."""
    return not isinstance(resume, str) or Path(resume).resolve().parent == (work_dir / "checkpoints").resolve()
