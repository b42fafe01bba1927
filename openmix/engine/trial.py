"""Tries a config out without its data: what loading a config and ``openmix check --dry-run`` do."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from openmix.data import SOURCES, Synthetic
from openmix.data.batch import Batch
from openmix.data.loaders.phased import check_begins
from openmix.data.loaders.resident import ResidentLoader, not_in_memory
from openmix.data.sources.encoded import EncodedSource
from openmix.data.timeline import Timeline
from openmix.engine import settings
from openmix.engine.budget import Budget, TooLargeError, memory_of_machine
from openmix.engine.build import build_hooks, check_classes, knn_settings, without_weights
from openmix.engine.check import Problem
from openmix.engine.features import extractor
from openmix.engine.optim import Schedule, build_optimizer
from openmix.engine.preprocess import Normalize
from openmix.engine.wrapper_settings import wrapper_of
from openmix.engine.wrapping import check_division, check_sync_bn
from openmix.errors import UserError
from openmix.registry import DATASETS, LOADERS, build, build_task, lookup, name_of, reason_of
from openmix.tasks.base import Task
from openmix.tasks.context import StepContext

__all__ = ["check_build", "dry_config"]

DRY_BATCH, DRY_SIZE = 2, 32  # images of a dry run's batch, and their sides where the network takes such
MOST_CLASSES, MOST_WORKERS = 10_000_000, 1024
LARGEST = torch.finfo(torch.float32).max
ENCODED = tuple(source for source in SOURCES.values() if issubclass(source, EncodedSource))
ONE_STEP_EPOCHS = Timeline(((0, 1),))


def check_build(cfg: Mapping[str, Any]) -> list[Problem]:
    """Build everything but data and weights, and return what refuses its arguments or does not fit, by dotted key.

    Networks are built on the meta device, which makes no numbers. Each loader gets one random image of its data set's
    shape, which goes through its pipeline and the network. The config's keys have been checked by
    :func:`openmix.engine.check.find_problems`.
    """
    problems: list[Problem] = []

    def attempt(key: str, action: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return action(*arguments, **named)
        except (ValueError, TypeError, ArithmeticError, MemoryError) as error:
            problems.append((key, reason_of(error)))

    sections = {key: attempt(key, section, **cfg.get(key, {})) for key, section in settings.SECTIONS.items()}
    for key, section in settings.NESTED.items():
        outer, inner = key.split(".")
        if cfg.get(outer, {}).get(inner) is not None:
            sections[key] = attempt(key, section, **cfg[outer][inner])
    attempt("custom_hooks", build_hooks, cfg)
    attempt("model_wrapper_cfg", wrapper_of, cfg)
    saves = "default_hooks.checkpoint"
    task = attempt("model", _try_task, cfg["model"])
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(key) is None or not task or not sections["data_preprocessor"]:
            continue
        for loader in attempt(key, _parts, cfg[key], key) or ():
            views = attempt(key, _try_loader, loader, key, task, Normalize(sections["data_preprocessor"]))
            attempt(key, _check_views, views or (), task, key)
            if views:
                networks = attempt("model", _try_network, cfg["model"], task, views[0])
                knn = sections.get("val_cfg.knn")
                if networks and knn:
                    attempt("val_cfg.knn", extractor, task, knn.features)
                if networks and (saving := sections.get(saves, settings.CheckpointHook())):
                    attempt(saves, saving.check_best, [*networks[1:], *(["knn"] if knn else [])])
                if key == "train_dataloader":
                    attempt(f"{key}.batch_size", _check_batch_size, loader.get("batch_size"), task)
                if key == "train_dataloader" and not problems:
                    attempt("model", _try_step, task, views, loader.get("batch_size"), sections["data_preprocessor"])
    if sections.get("val_cfg.knn") and cfg.get("val_dataloader") is None:
        problems.append(("val_cfg.knn", "there is no val_dataloader, whose images it would classify"))
    if not problems:
        attempt("sync_bn", check_sync_bn, cfg, task)
        attempt("model_wrapper_cfg", check_division, cfg, task)
    if not problems:
        optimizer = attempt("optim_wrapper.optimizer", build_optimizer, sections["optim_wrapper"], task)
    if not problems:
        numbers = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        attempt("optim_wrapper", _check_numbers, numbers)
        attempt("param_scheduler", _check_numbers, cfg.get("param_scheduler"))
    if not problems:
        epochs = sections["train_cfg"].max_epochs or 1
        attempt("param_scheduler", Schedule, cfg.get("param_scheduler"), optimizer, ONE_STEP_EPOCHS, epochs, epochs)
    return list(dict.fromkeys(problems))


def _try_task(model: Mapping[str, Any]) -> Task:
    try:
        with Budget("the network"):
            return build_task(model, device="meta")
    except TooLargeError:
        raise
    except Exception:  # some networks compute with numbers while they are made; a real error comes again
        with Budget("the network"):
            return build_task(model)


def _try_loader(loader: Mapping[str, Any], key: str, task: Task, normalize: Normalize) -> tuple[Tensor, ...]:
    """Return the views of a random image, (1, C, H, W) each, as the loader would give them.

    None of them where the data set does not tell its layout.

    Raises:
        UserError: the head has other classes than the data set; the pipeline or the normalisation fails.
    """
    stand_in = _stand_in(_as_tried(loader), length=1)
    if stand_in is None:
        return ()
    with Budget("an image"), contextlib.closing(build(stand_in, LOADERS)) as built:
        check_classes(task, built, key)
        try:
            batch = next(iter(built.evaluate()))
        except Exception as error:  # a transform may fail in any way
            reason = f"{type(error).__name__}: {reason_of(error)}"
            raise UserError(f"the pipeline fails on an image: {reason}") from error
        return normalize.batch(batch).views


@torch.no_grad()
def _try_network(model: Mapping[str, Any], task: Task, images: Tensor) -> list[str]:
    """Return the names of the networks that the task evaluates, the first one's first.

    Raises:
        UserError: it cannot predict for these images.
    """
    if type(task).predict is Task.predict:
        return []
    try:
        return list(task.eval().predictions(images.to("meta")))
    except Exception:  # perhaps for want of numbers only
        device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            with Budget("the network"):
                return list(build_task(model).to(device).eval().predictions(images.to(device)))
        except Exception as error:
            reason = f"{type(error).__name__}: {reason_of(error)}"
            raise UserError(f"the network fails on images of shape {tuple(images.shape[1:])}: {reason}") from error


def _check_views(views: Sequence[Tensor], task: Task, key: str) -> None:
    most = task.most_views if key == "train_dataloader" else 1
    if most is not None and len(views) > most:
        who = type(task).__name__ if key == "train_dataloader" else "an evaluation"
        raise UserError(
            f"the pipeline gives {len(views)} views of each image, and {who} looks at {most}: leave Views out"
        )


def _check_batch_size(batch_size: Any, task: Task) -> None:
    if isinstance(batch_size, int) and batch_size % task.batch_multiple:
        raise UserError(
            f"{type(task).__name__} as configured needs a multiple of {task.batch_multiple}, got {batch_size}"
        )


def _try_step(task: Task, views: Sequence[Tensor], batch_size: Any, preprocessor: settings.Preprocessor) -> None:
    """Raise ValueError for what a task finds wrong in its first step with images of this size, such as a grid too fine.

    As few as can be, without numbers: whatever else goes wrong may be for want of these.
    """
    count = DRY_BATCH * task.batch_multiple
    count = min(count, batch_size) if isinstance(batch_size, int) else count
    pairs = tuple(view.new_empty((count, *view.shape[1:]), device="meta") for view in views)
    numbers = torch.zeros(count, dtype=torch.int64, device="meta")
    batch = Batch(pairs, numbers, numbers, Normalize(preprocessor).pixel_range.to("meta"))
    try:
        task.to("meta").train()(batch, StepContext(seed=0, epoch=0, step=0, shard=0, progress=0.0))
    except ValueError:
        raise
    except Exception:
        return


def _parts(loader: Mapping[str, Any], key: str = "train_dataloader") -> list[Mapping[str, Any]]:
    """Return the configs of the loaders that one is composed of, or itself.

    Raises:
        UserError: it is not composed rightly, or in a place where it must not be.
    """
    if "loaders" not in loader:
        return [loader]
    parts = loader["loaders"]
    if key != "train_dataloader" or not isinstance(parts, list | tuple) or any("loaders" in part for part in parts):
        raise UserError("a PhasedLoader is for train_dataloader, and takes a list of plain loaders")
    check_begins(len(parts), loader["begins"])
    return list(parts)


def _as_tried(loader: Mapping[str, Any]) -> dict[str, Any]:
    """Return the loader that a trial runs: DALI's own readers take no random images, so DaliLoader does for theirs."""
    if loader.get("type") != "DaliReaderLoader":
        return dict(loader)
    return {key: value for key, value in loader.items() if key != "shuffle_window"} | {"type": "DaliLoader"}


def _stand_in(loader: Mapping[str, Any], length: int) -> dict[str, Any] | None:
    """Return a loader's config with random images in place of its data set's, of the same shape and classes.

    None where the data set does not tell its layout without being read: a user's own need not.
    """
    dataset = dict(loader["dataset"]) if isinstance(loader["dataset"], Mapping) else {}
    source = lookup(dataset.pop("type"), DATASETS) if dataset else None
    if not hasattr(source, "layout"):
        return None
    try:
        _check_layout(*source.layout(dataset))  # type: ignore[union-attr]
        images = Synthetic.instead_of(source, dataset, length)  # type: ignore[arg-type]
    except KeyError as error:
        raise UserError(f"dataset: {name_of(source)} needs {error}") from error
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UserError(f"dataset: {reason_of(error)}") from error
    if lookup(loader.get("type"), LOADERS) is ResidentLoader and source in ENCODED:
        raise UserError(not_in_memory(name_of(source)))
    return {**loader, **_without_workers(loader), "dataset": images}


def _check_numbers(value: Any, name: str = "") -> None:
    """Raise UserError for a number with which float32 cannot compute, wherever it stands in a part's config."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            _check_numbers(part, str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            _check_numbers(part, name)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise UserError(f"{name} must be a number of float32, got {value}")


def _check_layout(num_classes: int, image_shape: Sequence[int]) -> None:
    """Raise UserError for images or classes that no machine of this size takes; any other nonsense is found later."""
    if num_classes > MOST_CLASSES:
        raise UserError(f"num_classes={num_classes} is more than {MOST_CLASSES:,}")
    if math.prod(image_shape) * 4 > memory_of_machine():
        raise UserError(f"an image of {tuple(image_shape)} needs more than the machine's memory")


def _without_workers(loader: Mapping[str, Any]) -> dict[str, int]:
    """Return ``num_workers=0`` for a loader that has any; a number below 0 stays, to be refused.

    Raises:
        UserError: there are to be more than any machine could start.
    """
    if loader.get("num_workers", 0) > MOST_WORKERS:
        raise UserError(f"num_workers={loader['num_workers']} is more than {MOST_WORKERS}")
    return {"num_workers": min(loader["num_workers"], 0)} if "num_workers" in loader else {}


def dry_config(cfg: Config, work_dir: str) -> tuple[Config, list[str]]:
    """Return a config for 2 training steps and a validation batch, and notes on what it cannot try.

    The network, the task and the optimizer stay; the data shrink to a few images: the first of the data set where it
    is there, random ones of its shape where it is not. Large images shrink where the network takes small ones. Of a
    loader in phases, each trains for one step.
    """
    dry = Config(cfg.to_dict())
    notes: list[str] = []
    accumulate = settings.OptimWrapper(**cfg["optim_wrapper"]).accumulative_counts
    batch_size = DRY_BATCH * _try_task(cfg["model"]).batch_multiple
    for key in ("train_dataloader", "val_dataloader"):
        if cfg.get(key) is None:
            continue
        parts = _parts(dry[key])
        steps = 1 if key == "val_dataloader" or len(parts) > 1 else 2
        length = batch_size * steps * (accumulate if key == "train_dataloader" else 1)
        small = [_dry_loader(part, key, batch_size, length, cfg, notes) for part in parts]
        dry[key] = small[0] if parts[0] is dry[key] else {**dry[key], "loaders": small, "begins": range(len(small))}
    steps = max(2, len(_parts(dry["train_dataloader"])))
    dry.train_cfg = {**dry.train_cfg, "max_epochs": None, "max_iters": steps, "val_interval": steps}
    dry.work_dir, dry.vis_backends, dry.load_from = work_dir, [], None
    dry.model = without_weights(dry.model)
    if (knn := knn_settings(cfg)) is not None:
        dry.val_cfg = {"knn": {**dry.val_cfg["knn"], "k": min(knn.k, DRY_BATCH)}}
    return dry, notes


def _dry_loader(
    loader: Mapping[str, Any], key: str, batch_size: int, length: int, cfg: Config, notes: list[str]
) -> dict[str, Any]:
    """Return the config of a loader of ``length`` small images, in this process."""
    loader = _as_tried(loader)
    loader = {**loader, "batch_size": batch_size, **_without_workers(loader)}
    try:
        dry = {**loader, "dataset": build(loader["dataset"], DATASETS).take(length)}
    except UserError as error:
        stand_in = _stand_in(loader, length)
        if stand_in is None:
            raise
        notes.append(f"{key}: used random images, as {error}")
        dry = stand_in
    pipeline = [*dry.get("pipeline", []), {"type": "Resize", "size": [DRY_SIZE, DRY_SIZE]}]
    return {**dry, "pipeline": pipeline} if _takes_smaller(cfg, loader) else dry


def _takes_smaller(cfg: Config, loader: Mapping[str, Any]) -> bool:
    """Tell whether the pipeline gives larger images than a dry run wants, and the network takes those that it wants."""
    try:
        normalize = Normalize(settings.Preprocessor(**cfg.get("data_preprocessor", {})))
        task = _try_task(cfg["model"])
        views = _try_loader(loader, "train_dataloader", task, normalize)
        if len(views) != 1 or min(views[0].shape[2:]) <= DRY_SIZE:
            return False
        task.to("meta").eval().predict(torch.empty(2, views[0].shape[1], DRY_SIZE, DRY_SIZE, device="meta"))
    except Exception:  # whatever is wrong will show at the full size
        return False
    return True
