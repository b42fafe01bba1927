"""How OpenMixup's hooks, logs and checkpoints become openmix's, and what of its runtime nothing here needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openmix.convert.data import Evaluation
from openmix.convert.report import Section
from openmix.convert.schedule import in_steps

__all__ = ["convert_evaluation", "convert_rest", "convert_runtime", "take_hooks"]

TOP_1 = "top-1 and top-5 are always computed"

MEANINGLESS = {
    "prefetch": "images are uint8 until they are on the device, always",
    "sampler": "loaders divide the data among processes by themselves",
    "train_cfg": "empty in OpenMixup",
    "test_cfg": "empty in OpenMixup",
    "dist_params": "gloo on CPUs and nccl on GPUs",
    "cudnn_benchmark": "cudnn is left to torch",
    "log_level": "the log says what happens",
    "resume_from": "train.py --resume continues a run of openmix",
    "auto_resume": "train.py --resume continues a run of openmix",
    "workflow": "training and validation take turns",
    "persistent_workers": "workers live as long as the run",
    "find_unused_parameters": "the networks use all their parameters",
    "opencv_num_threads": "OpenCV is not used",
    "mp_start_method": "loaders fork by themselves",
    "gpu_ids": "tools/dist_train.sh CONFIG NPROC starts the processes",
    "work_dir": "work_dirs/CONFIG_STEM is the default",
}


def take_hooks(top: Section, wanted: Callable[[Mapping[str, Any]], bool]) -> list[Section]:
    """Take out of ``custom_hooks`` those that are wanted, and leave None in their places.

    Args:
        top: the whole old config.
        wanted: tells of a hook whether it is.
    """
    hooks = list(top.read("custom_hooks", Sequence[Mapping[str, Any] | None] | None) or [])
    taken = [Section(hook, f"custom_hooks.{i}", top.report) for i, hook in enumerate(hooks) if hook and wanted(hook)]
    if taken:
        top.values["custom_hooks"] = [None if hook and wanted(hook) else hook for hook in hooks]
    return taken


def convert_evaluation(top: Section, train_cfg: Mapping[str, Any], accumulate: int) -> Evaluation:
    """Return what ``evaluation``, or a ``ValidateHook`` in ``custom_hooks``, says.

    Args:
        top: the whole old config.
        train_cfg: the new one.
        accumulate: iterations, as mmcv counts them, to an optimizer step.
    """
    by_epoch = "max_epochs" in train_cfg
    found = Evaluation()
    for hook in take_hooks(top, lambda hook: hook.get("type") == "ValidateHook"):
        hook.meaningless("type", "validation is a part of the loop")
        hook.meaningless("dataset", "val_dataloader says it")
        found = _evaluation(hook, by_epoch, accumulate)
    if top.get("evaluation"):
        found = _evaluation(top.section("evaluation"), by_epoch, accumulate)
    top.meaningless("evaluation", "there is none")
    return found


def _evaluation(old: Section, by_epoch: bool, accumulate: int) -> Evaluation:
    batch_size = old.renamed("imgs_per_gpu", "val_dataloader.batch_size")
    num_workers = old.renamed("workers_per_gpu", "val_dataloader.num_workers")
    interval = None
    if old.read("by_epoch", bool, True) != by_epoch:
        counted = "epochs" if by_epoch else "steps"
        old.changed("interval", f"left out, validation is once an epoch: val_interval counts {counted} in this run")
    elif by_epoch:
        interval = old.renamed("interval", "train_cfg.val_interval")
    elif "interval" in old:
        interval = in_steps(old, "interval", "train_cfg.val_interval", accumulate)
    old.meaningless("by_epoch", "val_interval counts what max_epochs or max_iters does")
    old.meaningless("initial", "the first validation is after training")
    old.meaningless("eval_param", TOP_1)
    old.meaningless("save_best", "best.pth holds the best top-1")
    old.meaningless("prefetch", "images are uint8 until they are on the device, always")
    old.close()
    return Evaluation(batch_size, num_workers, None if by_epoch and interval == 1 else interval)


def convert_runtime(top: Section, task: str, by_epoch: bool, accumulate: int) -> dict[str, Any]:
    """Return ``default_hooks``, ``custom_hooks``, ``vis_backends``, ``randomness`` and ``load_from``, as needed.

    Args:
        top: the whole old config.
        task: the new task's type.
        by_epoch: whether the run's length is in epochs.
        accumulate: iterations, as mmcv counts them, to an optimizer step.
    """
    new: dict[str, Any] = {"default_hooks": {}}
    checkpoint = _checkpoints(top.section("checkpoint_config"), by_epoch, accumulate)
    if checkpoint:
        new["default_hooks"]["checkpoint"] = checkpoint
    log = top.section("log_config")
    interval = log.renamed("interval", "default_hooks.logger.interval", default=50)
    if interval != 50:
        new["default_hooks"]["logger"] = {"interval": interval}
    backends = _backends(log)
    log.close()
    hooks = [
        made
        for i, hook in enumerate(top.values.pop("custom_hooks", None) or [])
        if hook is not None and (made := _hook(Section(hook, f"custom_hooks.{i}", top.report), task))
    ]
    new |= {"custom_hooks": hooks, "vis_backends": backends}
    if top.get("seed") is not None:
        new["randomness"] = {"seed": top.renamed("seed", "randomness.seed")}
    top.meaningless("seed", "0 is the default, as OpenMixup's scripts set it")
    if top.get("load_from"):
        new["load_from"] = top.kept("load_from")
    top.meaningless("load_from", "None is the default")
    return {key: value for key, value in new.items() if value}


def _checkpoints(old: Section, by_epoch: bool, accumulate: int) -> dict[str, Any]:
    new: dict[str, Any] = {}
    by_epoch = old.read("by_epoch", bool, by_epoch)
    if old.read("interval", int, 1) > 1:
        to = "default_hooks.checkpoint.interval"
        new["interval"] = in_steps(old, "interval", to, 1 if by_epoch else accumulate)
    old.meaningless("interval", "every epoch is the default")
    if new and not by_epoch:
        new["by_epoch"] = False
        old.renamed("by_epoch", "default_hooks.checkpoint.by_epoch")
    keep = old.read("max_keep_ckpts", int, -1)
    if keep > 2:
        new["max_keep_ckpts"] = old.renamed("max_keep_ckpts", "default_hooks.checkpoint.max_keep_ckpts")
    elif keep == 2:
        old.meaningless("max_keep_ckpts", "2 is the default")
    else:
        old.changed("max_keep_ckpts", "2: one alone may be the one being written; a larger number keeps more")
    for key in ("by_epoch", "save_optimizer", "save_last", "create_symlink", "out_dir", "filename_tmpl"):
        old.meaningless(key, "checkpoints are whole, and last.pth and best.pth are there")
    old.close()
    return new


def _backends(log: Section) -> list[dict[str, Any]]:
    backends = []
    hooks = log.read("hooks", Sequence[Mapping[str, Any]], ())
    log.values.pop("hooks", None)
    for i, hook in enumerate(hooks):
        section = Section(hook, f"log_config.hooks.{i}", log.report)
        kind = section.get("type")
        if kind == "TextLoggerHook":
            section.meaningless("type", "the log's text and metrics.jsonl are always written")
        elif kind == "TensorboardLoggerHook":
            backends.append({"type": "TensorboardVisBackend"})
            section.renamed("type", "vis_backends: TensorboardVisBackend")
        elif kind == "WandbLoggerHook":
            init = section.read("init_kwargs", Mapping[str, Any] | None)
            section.renamed("init_kwargs", "vis_backends.init_kwargs")
            backends.append({"type": "WandbVisBackend", **({"init_kwargs": dict(init)} if init else {})})
            section.renamed("type", "vis_backends: WandbVisBackend")
        section.close("left out: a hook of mmengine or your own can log more")
    return backends


def _hook(old: Section, task: str) -> dict[str, Any] | None:
    """Return a hook's counterpart, if it has one."""
    kind = old.get("type")
    if kind == "EMAHook":
        momentum = round(1 - old.read("momentum", float, 0.9999), 12)
        old.kept("type")
        old.changed("momentum", f"{momentum:g}: the share of the new weights, not of the old")
        for key in ("warmup", "warmup_iters", "warmup_ratio"):
            old.no_equivalent(key, "the average begins as the weights after the first step, and moves evenly")
        old.meaningless("update_interval", "the average moves with every optimizer step")
        old.changed("full_params_ema", "BatchNorm's statistics are averaged as well")
        old.close()
        return {"type": "EMAHook", "momentum": momentum}
    if kind == "SAVEHook" and task != "Classification":
        epochs = max(1, old.read("save_interval", int, 1) // max(1, old.read("iter_per_epoch", int, 1)))
        old.renamed("type", "MixPreviewHook")
        old.changed("save_interval", f"interval={epochs}: in epochs, to TensorBoard")
        old.meaningless("iter_per_epoch", "an epoch's length is known")
        old.close()
        return {"type": "MixPreviewHook", "interval": epochs}
    old.report.add(old.path, "no equivalent", f"{kind}: left out; a hook of your own can do it")
    return None


def convert_rest(top: Section) -> None:
    """Report every top-level key that is left."""
    for key, why in MEANINGLESS.items():
        if key == "sampler" and top.get(key) == "RepeatAugSampler":
            top.no_equivalent(key, "images are not repeated within a batch")
        top.meaningless(key, why)
    if "addtional_scheduler" in top:
        top.no_equivalent("addtional_scheduler", "paramwise_cfg.custom_keys gives parameters a rate of their own")
    for key in list(top.values):
        top.meaningless(key, "a name of the file's own, or one that OpenMixup does not read either")
