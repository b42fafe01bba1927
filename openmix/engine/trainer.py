"""The training loop, and the face that mmengine's hooks know as ``runner``."""

import math
import operator
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.hooks import Hook
from torch.optim.swa_utils import AveragedModel

from openmix.data.batch import Batch
from openmix.data.loaders import Loader
from openmix.engine import settings
from openmix.engine.checkpoint_folder import CheckpointFolder
from openmix.engine.content import not_plain
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World, sum_over_ranks
from openmix.engine.ema import EMAHook
from openmix.engine.evaluate import evaluate
from openmix.engine.features import NearestNeighbours
from openmix.engine.hooks import HookList
from openmix.engine.log import Averages, Reporter
from openmix.engine.nonfinite import NonFiniteError, write_key
from openmix.engine.optim import Schedule, build_optimizer, load_optimizer_state
from openmix.engine.prefetch import Prefetch
from openmix.engine.preprocess import Normalize
from openmix.engine.resuming import check_data, check_timeline, circumstances
from openmix.engine.sharding import laid_out, local
from openmix.engine.signals import StopRequest
from openmix.engine.step import TrainStep
from openmix.engine.weights import check_average, load_weights
from openmix.engine.wrapping import wrap
from openmix.errors import Reported, UserError, WriteError
from openmix.tasks.base import Task
from openmix.tasks.context import StepContext

__all__ = ["Stopped", "Trainer"]


class Stopped(Reported):
    """A signal asked the run to stop; it has saved a checkpoint and can be resumed."""

    exit_code = 75


class Trainer:
    """Trains a task on a loader.

    mmengine hooks get this object as ``runner`` and may use: ``model``, ``task``, ``ema``, ``epoch``, ``iter``,
    ``max_epochs``, ``max_iters``, ``seed``, ``work_dir``, ``logger``, ``visualizer``, ``optimizer``,
    ``train_dataloader``, ``val_dataloader``, ``rank``, ``world_size``. Their points, in mmengine's order: before_run,
    after_load_checkpoint, before_train; before_train_epoch, before_train_iter, after_train_iter, after_train_epoch;
    before_val, before_val_epoch, after_val_epoch, after_val; before_save_checkpoint; after_train, after_run. As there,
    ``iter`` and ``epoch`` count what is finished, and move on after the hooks of the step or epoch have been called.
    ``data_batch`` is the step's first micro-batch, normalised on the device; ``outputs`` is the task's report by name.

    Args:
        cfg: a checked config.
        task: what to train, on the device.
        train_loader: batches to train on.
        val_loader: batches to validate on, or None.
        hooks: mmengine hooks, in order of priority.
        reporter: where figures go.
        world: the processes that train together.
        knn: what ``val_cfg.knn`` asks for, or None.
    """

    def __init__(
        self,
        cfg: Mapping[str, Any],
        task: Task,
        train_loader: Loader,
        val_loader: Loader | None,
        hooks: list[Hook],
        reporter: Reporter,
        world: World,
        knn: NearestNeighbours | None = None,
    ) -> None:
        optim = settings.OptimWrapper(**cfg["optim_wrapper"])
        train_cfg = settings.TrainCfg(**cfg["train_cfg"])
        default_hooks = settings.DefaultHooks(**cfg.get("default_hooks", {}))
        self.config_text = str(cfg.get("config_text", ""))
        self.work_dir = cfg["work_dir"]
        self.seed = settings.Randomness(**cfg.get("randomness", {})).seed
        self.task, self.world = task, world
        self.rank, self.world_size = world.rank, world.size
        self.train_dataloader, self.val_dataloader, self.knn = train_loader, val_loader, knn
        if knn is not None:
            knn.extract(task)  # now, and not after an epoch
        self.reporter, self.logger, self.visualizer = reporter, reporter.logger, reporter.visualizer
        self.normalize = Normalize(settings.Preprocessor(**cfg.get("data_preprocessor", {})), world.device)
        self.prefetch = Prefetch(world.device)

        self.timeline = train_loader.timeline
        self.max_iters = train_cfg.max_iters or self.timeline.start_of(train_cfg.max_epochs)  # type: ignore[arg-type]
        self.max_epochs = train_cfg.max_epochs or self.timeline.epoch_of(self.max_iters - 1) + 1
        self.val_by_epoch = train_cfg.max_epochs is not None or train_cfg.val_interval is None
        self.val_interval = train_cfg.val_interval or 1
        self.log_every = settings.LoggerHook(**default_hooks.logger).interval
        self.saving = settings.CheckpointHook(**default_hooks.checkpoint)
        self.checkpoints = CheckpointFolder(Path(self.work_dir) / "checkpoints", self.saving.max_keep_ckpts)

        if train_cfg.compile:
            # mixing within the network takes a graph for each stage and kind of plan, more than torch's 8
            dynamo = torch._dynamo.config
            dynamo.cache_size_limit = max(64, dynamo.cache_size_limit)
            mode = {} if train_cfg.compile is True else {"mode": train_cfg.compile}
            for module in task.compiled():
                module.compile(**mode)
        self.wrapped = wrap(cfg, task, world)
        self.model = self.wrapped.model
        self.accumulate = optim.accumulative_counts
        self.optimizer = build_optimizer(optim, task)
        self.schedule = Schedule(
            cfg.get("param_scheduler"), self.optimizer, self.timeline, self.max_epochs, self.max_iters
        )
        replays = train_cfg.compile in ("reduce-overhead", "max-autotune")
        self.step = TrainStep(self.model, self.optimizer, optim, world.device, replays)
        self.averages = Averages(world)
        self.damage, self.val_damage = DamageLog(reporter.logger, world), DamageLog(reporter.logger, world)
        self.ema: AveragedModel | None = None
        self.hooks = HookList(hooks, self)
        self.epoch = self.iter = 0
        self._images = 0  # seen by this process since the last record
        self.best = -math.inf
        self.metrics: dict[str, Any] = {}
        self._resumed_from: Mapping[str, Any] | None = None

    def train(self) -> dict[str, Any]:
        """Train to the end and return the last validation's metrics (empty where nothing validates).

        Raises:
            Stopped: a signal came; a checkpoint is saved.
            NonFiniteError: the loss, the gradient or the weights are no numbers any more; nothing was saved since.
        """
        self.hooks("before_run")
        if self._resumed_from is not None:
            self._restore_hooks(self._resumed_from)
        if problem := not_plain(self.hooks.state_dict()):
            raise UserError(f"a hook's state is not plain data, which alone goes into a checkpoint: {problem}")
        with StopRequest(self.world.timeout) as self.stop:
            self.reporter.start(self.iter, self.max_iters)
            self._clock = time.perf_counter()
            try:
                self.hooks("before_train")
                while self.iter < self.max_iters:
                    self._train_epoch()
                self.hooks("after_train")
                self.hooks("after_run")
            except NonFiniteError as error:
                raise self._diverged(error) from error
            finally:
                self.reporter.stop()
        return self.metrics

    def _diverged(self, error: NonFiniteError) -> NonFiniteError:
        """Write down which images the step had, where it was a step, and return what to raise."""
        if not error.contexts:
            return error
        first, indices = error.contexts[0], getattr(self.train_dataloader, "indices", None)
        step = first.step - self.timeline.start_of(first.epoch)
        plan = [] if indices is None else indices(first.epoch, step)
        try:
            path = write_key(error, plan, Path(self.work_dir) / "nonfinite", self.world)
        except (OSError, WriteError) as reason:
            return NonFiniteError(f"{error}; which images it had could not be written: {reason}")
        return NonFiniteError(f"{error}; 'openmix replay {path}' rebuilds the batch")

    def _train_epoch(self) -> None:
        """Train from where the run is to the end of the epoch, validating and saving when due."""
        start = self.iter - self.timeline.start_of(self.epoch)
        if start == 0:
            self.hooks("before_train_epoch")
        for batch_idx, micro_batches in enumerate(self._steps(start), start):
            batch = micro_batches[0][1]
            self.hooks("before_train_iter", batch_idx=batch_idx, data_batch=batch)
            report = self.step(micro_batches)
            self.task.after_step(micro_batches[-1][0])
            self.averages.add(report)
            self._images += len(batch) * len(micro_batches)
            if self.hooks.acts_at("after_train_iter"):
                outputs = dict(zip(self.step.names, report, strict=True))
                self.hooks("after_train_iter", batch_idx=batch_idx, data_batch=batch, outputs=outputs)
            self.iter += 1
            self.schedule.after_step(self.iter)
            self._after_iter(ends_epoch=batch_idx + 1 == self.timeline.steps_in(self.epoch))
            if self.iter == self.max_iters:
                break

    def _after_iter(self, ends_epoch: bool) -> None:
        """Log, validate and save what is due after step ``self.iter``, in this order, and stop if asked to."""
        self.reporter.advance()
        last = self.iter == self.max_iters
        if self.iter % self.log_every == 0 or ends_epoch or last:
            self._log()
        if ends_epoch:
            self.hooks("after_train_epoch")
            self.epoch += 1
            self.schedule.after_epoch(self.epoch)
        validating = last or self._is_due(self.val_interval, self.val_by_epoch, ends_epoch)
        is_best = self._validate() if self.val_dataloader and validating else False
        stopping = self.stop.agreed(self.step.finite.found()) and not last
        saving = last or self._is_due(self.saving.interval, self.saving.by_epoch, ends_epoch)
        if saving or stopping or is_best:
            self.save(is_best)
        if stopping:
            raise Stopped(f"stopped after step {self.iter} of {self.max_iters}")

    def _is_due(self, interval: int, by_epoch: bool, ends_epoch: bool) -> bool:
        """Tell whether something that comes every so many epochs or steps comes after this step."""
        return ends_epoch and self.epoch % interval == 0 if by_epoch else self.iter % interval == 0

    def _steps(self, start: int) -> Iterator[list[tuple[StepContext, Batch]]]:
        """Yield each step's micro-batches, normalised on the device, with their place in the run."""
        batches = self.prefetch(self.train_dataloader.epoch(self.epoch, start_step=start), self._prepared)
        while group := list(islice(batches, self.accumulate)):
            progress = self.iter / self.max_iters
            yield [(StepContext(self.seed, self.epoch, self.iter, shard, progress), batch) for shard, batch in group]

    def _prepared(self, batch: Batch) -> Batch:
        self.damage.note(batch)
        return self.normalize.batch(batch.to(self.world.device))

    def _log(self) -> None:
        self.step.check_scale()
        means = dict(zip(self.step.names, self.averages.pop(), strict=True))  # waits for the device
        self.step.finite.look()
        now = time.perf_counter()
        seconds, images = now - self._clock, self._images * self.world.size
        self._clock, self._images = now, 0
        record = {
            "split": "train",
            **self._place(),
            "lr": self.optimizer.param_groups[0]["lr"],
            **means,
            **self.damage.pop(),
            "images_per_s": images / seconds,
            "time_s": seconds,
        }
        # epochs of a few steps would fill the terminal
        aloud = self.iter % self.log_every == 0 or self.iter == self.max_iters
        self.reporter.train(record, self.max_epochs, self.max_iters, aloud)

    def _place(self) -> dict[str, int]:
        """Return the epoch, counted from 1, that the last finished step belongs to, and that step's number."""
        return {"epoch": self.timeline.epoch_of(self.iter - 1) + 1, "step": self.iter}

    def _validate(self) -> bool:
        """Evaluate on the validation set and tell whether this is the best so far."""
        assert self.val_dataloader is not None
        began = time.perf_counter()
        self.hooks("before_val")
        self.hooks("before_val_epoch")
        model = self.task if self.ema is None else self.ema.module
        with self.wrapped.evaluated(model) as whole:
            self.metrics = evaluate(cast("Task", whole), self.val_dataloader, self.normalize, self.val_damage, self.knn)
        self.step.finite.look()
        self.hooks("after_val_epoch", metrics=self.metrics)
        self.hooks("after_val")
        seconds = time.perf_counter() - began
        self._clock += seconds
        is_best = self._is_best()
        record = {"split": "val", **self._place(), **self.metrics, "time_s": seconds}
        self.reporter.val(record, is_best)
        return is_best

    def _is_best(self) -> bool:
        """Tell whether the metric that ``save_best`` names is better than ever, and remember it."""
        if self.saving.save_best is None:
            return False
        self.saving.check_best(name.removeprefix("top1_") for name in self.metrics if name.startswith("top1_"))
        value = self.metrics[self.saving.save_best]
        if not all(map(math.isfinite, self.metrics.values())):  # a network that diverged may still hit by chance
            return False
        score = -value if self.saving.save_best in ("nll", "ece") else value
        if not score > self.best:  # nothing is better than NaN, and NaN better than nothing
            return False
        self.best = score
        return True

    def save(self, is_best: bool = False) -> None:
        """Save a checkpoint. All ranks take part; rank 0 writes.

        Raises:
            NonFiniteError: the weights are no numbers any more; the checkpoints before are kept.
        """
        finite = torch.stack([local(p).isfinite().all() for p in self.task.parameters()]).all()
        lost = sum_over_ranks(1 - finite.float())  # of the parts of sharded weights each process knows its own
        self.step.finite.look()
        if lost:  # waits for the device
            raise NonFiniteError(f"the weights are not finite after step {self.iter}; they are not saved")
        ends_epoch = self.iter == self.timeline.start_of(self.epoch)
        state = self.state_dict()
        self.hooks("before_save_checkpoint", checkpoint=state)
        if self.world.is_main:
            self.checkpoints.save(f"epoch_{self.epoch}.pth" if ends_epoch else f"iter_{self.iter}.pth", state, is_best)

    def least_checkpoint(self) -> int:
        """Return how many bytes a checkpoint takes at least: the weights, and their average."""
        weights = sum(value.nbytes for value in self.task.state_dict().values())
        return weights * (2 if any(isinstance(hook, EMAHook) for hook in self.hooks.hooks) else 1)

    @cached_property
    def circumstances(self) -> dict[str, Any]:
        """What besides the config the run's bits depend on."""
        return circumstances(self.world, self.accumulate, self.train_dataloader)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the rest of the run depends on, as tensors and builtins."""
        weights = {
            "model": self.task.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        return {
            "step": self.iter,
            "timeline": [list(phase) for phase in self.timeline.phases],
            "seed": self.seed,
            "best": self.best,
            "metrics": self.metrics,
            "config": self.config_text,
            "circumstances": self.circumstances,
            **self.wrapped.saved(weights, self.world.is_main),
            "scaler": self.step.scaler.state_dict(),
            "averages": self.averages.state_dict(),
            "damaged": self.damage.total(),
            "hooks": self.hooks.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint when :meth:`train` is called; no file is touched before.

        The schedule and the optimizer's hyper-parameters are those of this run's config, at the checkpoint's step.

        Raises:
            UserError: it belongs to another network, optimizer, seed, data set or batch size.
        """
        check_timeline(state, self.timeline)
        if state["seed"] != self.seed:
            raise UserError(f"the checkpoint was trained with seed {state['seed']}, this run has {self.seed}")
        if (state["ema"] is None) == any(isinstance(hook, EMAHook) for hook in self.hooks.hooks):
            which = "this config" if state["ema"] is None else "the checkpoint"
            raise UserError(f"only {which} averages the weights (EMAHook): the checkpoint and the config must agree")
        load_weights(self.task, state["model"])
        if state["ema"] is not None:
            check_average(state["ema"], self.task)
        try:
            check_data(state.get("circumstances", self.circumstances), self.circumstances)
            self.iter, self.best, self.metrics = (
                operator.index(state["step"]),
                float(state["best"]),
                dict(state["metrics"]),
            )
            self.epoch = self.timeline.epoch_of(self.iter)
            self.schedule.fast_forward(min(self.iter, self.max_iters))
            load_optimizer_state(self.optimizer, state["optimizer"])
            if state["scaler"]:  # none where it was trained without fp16
                self.step.scaler.load_state_dict(state["scaler"])
            self.averages.load_state_dict(state["averages"])
            self.damage.restore(operator.index(state.get("damaged", 0)))
        except UserError:
            raise
        except Exception as error:  # what a damaged file holds may be anything
            raise UserError(f"the checkpoint is damaged: {type(error).__name__}: {error}") from error
        self._resumed_from = state

    def _restore_hooks(self, state: Mapping[str, Any]) -> None:
        if self.ema is not None:
            own = self.ema.state_dict()
            self.ema.load_state_dict({name: laid_out(value, own[name]) for name, value in state["ema"].items()})
        try:
            self.hooks.load_state_dict(state["hooks"])
        except Exception as error:  # what a damaged file holds may be anything
            raise UserError(
                f"a hook cannot take the state in the checkpoint: {type(error).__name__}: {error}"
            ) from error
        self.hooks("after_load_checkpoint", checkpoint=state)
