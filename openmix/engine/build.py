"""The parts of a run, built from a checked config."""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import VISBACKENDS

from openmix.data import Loader, Shards, Synthetic
from openmix.engine import ema, settings  # noqa: F401  ema registers its hook
from openmix.engine.distributed import World
from openmix.engine.optim import Schedule, build_optimizer
from openmix.engine.step import TrainStep
from openmix.errors import UserError
from openmix.registry import DATASETS, HOOKS, LOADERS, build, build_task, lookup
from openmix.tasks.base import Task

__all__ = ["build_hooks", "build_loader", "check_build", "dry_config", "seed_of"]

DRY_BATCH = 4


def seed_of(cfg: Mapping[str, Any]) -> int:
    """Return the run's seed."""
    return settings.Randomness(**cfg.get("randomness", {})).seed


def build_loader(cfg: Mapping[str, Any], key: str, world: World) -> Loader | None:
    """Build the loader under ``key``, or return None where the config has none.

    Only the training loader knows of gradient accumulation: there it makes more, smaller shards of a step.
    """
    if cfg.get(key) is None:
        return None
    training = key == "train_dataloader"
    accumulate = settings.OptimWrapper(**cfg["optim_wrapper"]).accumulative_counts if training else 1
    shards = Shards(world.rank, world.size, accumulate)
    return build(cfg[key], LOADERS, seed=seed_of(cfg), shards=shards, device=world.device)


def build_hooks(cfg: Mapping[str, Any]) -> list[Hook]:
    """Build ``custom_hooks``, highest priority first, as mmengine orders them."""
    from mmengine.hooks.hook import Hook as BaseHook
    from mmengine.runner.priority import get_priority

    hooks: list[Hook] = []
    for item in cfg.get("custom_hooks") or []:
        arguments = dict(item)
        priority = arguments.pop("priority", None)
        hook = build(arguments, HOOKS)
        if not isinstance(hook, BaseHook):
            raise UserError(f"custom_hooks: {type(hook).__name__} is not an mmengine Hook")
        hook.priority = hook.priority if priority is None else priority
        hooks.append(hook)
    return sorted(hooks, key=lambda hook: get_priority(hook.priority))


def check_build(cfg: Mapping[str, Any], world: World) -> None:
    """Build everything but the data and the weights, so that a wrong value is found before either is touched.

    Networks are built on the meta device, which makes no numbers; loaders get a few random images of the data set's
    shape.

    Raises:
        UserError: a part refuses its arguments, or parts do not fit.
    """
    sections = {"optim_wrapper": settings.OptimWrapper, "train_cfg": settings.TrainCfg,
                "randomness": settings.Randomness, "data_preprocessor": settings.Preprocessor,
                "default_hooks": settings.DefaultHooks}  # fmt: skip
    built = {key: _section(key, section, cfg.get(key, {})) for key, section in sections.items()}
    _section("default_hooks.checkpoint", settings.CheckpointHook, built["default_hooks"].checkpoint)
    _section("default_hooks.logger", settings.LoggerHook, built["default_hooks"].logger)
    task = build_task(cfg["model"], device="meta")
    optimizer = build_optimizer(built["optim_wrapper"].optimizer, task)
    TrainStep(task, optimizer, built["optim_wrapper"], world.device)
    epochs = built["train_cfg"].max_epochs or 1
    Schedule(cfg.get("param_scheduler"), optimizer, epochs, built["train_cfg"].max_iters or 1_000_000)
    build_hooks(cfg)
    for backend in cfg.get("vis_backends") or []:
        lookup(backend["type"], VISBACKENDS)
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        if cfg.get(key) is not None:
            check_classes(task, build(_stand_in(cfg[key], key), LOADERS), key)


def check_classes(task: Task, loader: Loader, key: str) -> None:
    """Raise UserError unless the head has as many classes as the data set."""
    num_classes = getattr(task, "num_classes", loader.num_classes)
    if num_classes != loader.num_classes:
        raise UserError(f"the head has num_classes={num_classes}, but {key}'s data set has {loader.num_classes}")


def _section(key: str, section: Any, value: Mapping[str, Any]) -> Any:
    try:
        return section(**value)
    except ValueError as error:
        raise UserError(f"{key}: {error}") from error


def _stand_in(loader: Mapping[str, Any], key: str, length: int | None = None) -> dict[str, Any]:
    """Return a loader's config with random images in place of its data set's, of the same shape and classes."""
    if not isinstance(loader["dataset"], Mapping):  # built already
        return dict(loader)
    dataset = dict(loader["dataset"])
    source = lookup(dataset.pop("type", None), DATASETS)
    if not hasattr(source, "layout"):  # a user's own source need not tell its layout beforehand
        return dict(loader)
    try:
        stand_in = Synthetic.instead_of(source, dataset, length or max(1, int(loader.get("batch_size", 1))))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{key}.dataset: {error}") from error
    without_workers = {"num_workers": 0} if "num_workers" in loader else {}
    return {**loader, **without_workers, "dataset": stand_in}


def dry_config(cfg: Config, work_dir: str) -> tuple[Config, list[str]]:
    """Return a config for 2 training steps and a validation batch, and notes on what it cannot try.

    The network, the task and the optimizer stay; the data shrink to a few images: the first of the data set where it
    is there, random ones of its shape where it is not.
    """
    dry = Config(cfg.to_dict())
    notes = []
    accumulate = settings.OptimWrapper(**cfg["optim_wrapper"]).accumulative_counts
    for key in ("train_dataloader", "val_dataloader"):
        if cfg.get(key) is None:
            continue
        length = DRY_BATCH * (2 * accumulate if key == "train_dataloader" else 1)
        loader = {**dry[key], "batch_size": DRY_BATCH, **({"num_workers": 0} if "num_workers" in dry[key] else {})}
        try:
            source = build(loader["dataset"], DATASETS).take(length)
        except UserError as error:
            notes.append(f"{key}: used random images, as {error}")
            source = _stand_in(loader, key, length)["dataset"]
        dry[key] = {**loader, "dataset": source}
    dry.train_cfg = {**dry.train_cfg, "max_epochs": None, "max_iters": 2, "val_interval": 2}
    dry.work_dir, dry.vis_backends, dry.load_from = work_dir, [], None
    return dry, notes


def initialise(cfg: Mapping[str, Any], device: torch.device) -> Task:
    """Build the task with weights that are a function of the seed, on the device."""
    from openmix.ops.random import derive_seed

    torch.manual_seed(derive_seed(seed_of(cfg), "weights"))
    return build_task(cfg["model"]).to(device)
