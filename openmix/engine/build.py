"""The parts of a run, built from a checked config."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.hooks import Hook

from openmix.data import Loader, Shards
from openmix.engine import ema, mix_preview, profiling, settings  # noqa: F401  the first three register hooks
from openmix.engine.distributed import World, main_only
from openmix.engine.features import NearestNeighbours
from openmix.engine.wrapper_settings import FullyShard, wrapper_of
from openmix.errors import UserError
from openmix.registry import HOOKS, LOADERS, build, build_task
from openmix.tasks.base import Task

__all__ = [
    "build_hooks", "build_loader", "check_classes", "initialise", "knn_settings", "lies_channels_last", "open_bank",
    "open_knn", "open_loader", "seed_of", "timeout_of", "without_weights",
]  # fmt: skip


def seed_of(cfg: Mapping[str, Any]) -> int:
    """Return the run's seed."""
    return settings.Randomness(**cfg.get("randomness", {})).seed


def timeout_of(cfg: Mapping[str, Any]) -> float:
    """Return how many seconds processes wait for each other."""
    return settings.DistCfg(**settings.EnvCfg(**cfg.get("env_cfg", {})).dist_cfg).timeout


def build_loader(cfg: Mapping[str, Any], key: str, world: World) -> Loader | None:
    """Build the loader under ``key``, or return None where the config has none.

    Only the training loader knows of gradient accumulation: there it makes more, smaller shards of a step.
    """
    if cfg.get(key) is None:
        return None
    training = key == "train_dataloader"
    accumulate = settings.OptimWrapper(**cfg["optim_wrapper"]).accumulative_counts if training else 1
    shards = Shards(world.rank, world.size, accumulate)

    def make() -> Loader:
        return build(cfg[key], LOADERS, seed=seed_of(cfg), shards=shards, device=world.device)

    # the data set may have to be downloaded: by one process, before the others look for it
    made: list[Loader] = []
    main_only(world, lambda: made.append(make()))
    return made[0] if world.is_main else make()


@contextlib.contextmanager
def open_loader(cfg: Mapping[str, Any], key: str, world: World) -> Iterator[Loader | None]:
    """Build a loader as :func:`build_loader` does and close it in the end."""
    loader = build_loader(cfg, key, world)
    try:
        yield loader
    finally:
        if loader is not None:
            loader.close()


def knn_settings(cfg: Mapping[str, Any]) -> settings.KnnCfg | None:
    """Return what ``val_cfg.knn`` says, or None where there is none."""
    knn = settings.ValCfg(**cfg.get("val_cfg", {})).knn
    return None if knn is None else settings.KnnCfg(**knn)


@contextlib.contextmanager
def open_bank(cfg: Mapping[str, Any], world: World, key: str = "val_dataloader") -> Iterator[Loader]:
    """Build a loader of the training set that shows it as ``key`` shows its own, and close it in the end.

    Of a PhasedLoader it is the last phase's set. With worker processes, these are as many more.
    """
    training = cfg["train_dataloader"]
    training = training["loaders"][-1] if "loaders" in training else training
    bank = {**cfg[key], "dataset": training["dataset"]}
    with open_loader({**cfg, "bank": bank}, "bank", world) as loader:
        assert loader is not None
        yield loader


@contextlib.contextmanager
def open_knn(cfg: Mapping[str, Any], world: World, key: str = "val_dataloader") -> Iterator[NearestNeighbours | None]:
    """Build what ``val_cfg.knn`` asks for, or None; what it loads is closed in the end."""
    knn = knn_settings(cfg)
    if knn is None or cfg.get(key) is None:
        yield None
        return
    with open_bank(cfg, world, key) as bank:
        yield NearestNeighbours(knn, bank)


def build_hooks(cfg: Mapping[str, Any]) -> list[Hook]:
    """Build ``custom_hooks``, highest priority first, as mmengine orders them.

    Raises:
        UserError: one is no hook, works in mmengine's own Runner alone, or is a second ProfilerHook.
    """
    from mmengine.hooks.hook import Hook as BaseHook
    from mmengine.runner.priority import get_priority

    hooks: list[Hook] = []
    for item in cfg.get("custom_hooks") or []:
        arguments = dict(item)
        priority = arguments.pop("priority", None)
        hook = build(arguments, HOOKS)
        if not isinstance(hook, BaseHook):
            raise UserError(f"{type(hook).__name__} is not an mmengine Hook")
        name = type(hook).__name__
        if type(hook).__module__.startswith("mmengine.") and name != "EmptyCacheHook":
            raise UserError(f"{name} works inside mmengine's own Runner alone; write a Hook of your own")
        hook.priority = hook.priority if priority is None else priority
        hooks.append(hook)
    if sum(isinstance(hook, profiling.ProfilerHook) for hook in hooks) > 1:
        raise UserError("one ProfilerHook is enough, as torch has one profiler; repeat=2 looks twice")
    return sorted(hooks, key=lambda hook: get_priority(hook.priority))


def without_weights(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's config whose guide loads nothing from elsewhere: for a trial, or as a checkpoint has it all."""

    def plain(value: Any) -> Any:
        off = {"pretrained": False, "checkpoint": None}
        return {k: off.get(k, plain(v)) for k, v in value.items()} if isinstance(value, Mapping) else value

    return {key: plain(value) if key == "guide" else value for key, value in model.items()}


def check_classes(task: Task, loader: Loader, key: str) -> None:
    """Raise UserError unless the head has as many classes as the data set."""
    num_classes = getattr(task, "num_classes", loader.num_classes)
    if num_classes != loader.num_classes:
        raise UserError(f"the head has num_classes={num_classes}, but {key}'s data set has {loader.num_classes}")


def initialise(cfg: Mapping[str, Any], device: torch.device) -> Task:
    """Build the task with weights that are a function of the seed, on the device."""
    from openmix.ops.random import derive_seed

    torch.manual_seed(derive_seed(seed_of(cfg), "weights"))
    task = build_task(cfg["model"]).to(device)
    if lies_channels_last(cfg, task):
        for convolution in _convolutions(task):
            convolution.to(memory_format=torch.channels_last)
    return task


def lies_channels_last(cfg: Mapping[str, Any], task: Task) -> bool:
    """Tell whether a task's convolutions are to have channels last; images and feature maps then follow of themselves.

    Raises:
        UserError: the config divides such weights, which FSDP2 does not take.
    """
    wanted = settings.TrainCfg(**cfg["train_cfg"]).channels_last
    divided = isinstance(wrapper_of(cfg), FullyShard)
    if wanted and divided:
        raise UserError("train_cfg.channels_last: FullyShard does not divide such weights; leave one of them out")
    if wanted is not None or divided:
        return bool(wanted)
    return settings.OptimWrapper(**cfg["optim_wrapper"]).amp is not None and len(_convolutions(task)) > 1


def _convolutions(task: Task) -> list[torch.nn.Conv2d]:
    return [module for module in task.modules() if isinstance(module, torch.nn.Conv2d)]
