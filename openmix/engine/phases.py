"""Where a step's time goes, in phases that a user knows: marks around what a trainer calls, put there from outside.

The loop itself has no marks, as every run would pay for them. Whoever wants to know wraps what :func:`places` names,
for as long as it wants to, and nothing remains of it afterwards. Meanwhile each mark takes about 2 microseconds, and a
step has some 25.
"""

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from openmix.data.batch import Batch
from openmix.engine.hooks import HookList
from openmix.engine.nonfinite import FiniteCheck
from openmix.mixers.compose import Choice, Composition, Window
from openmix.mixers.mixer import Mixer
from openmix.models.heads import ClsHead
from openmix.ops.plans import OnDevice
from openmix.tasks.context import MixContext
from openmix.tasks.contrastive import MomentumContrast
from openmix.tasks.learned import Draw, LearnedMixing
from openmix.tasks.learned_mixer import LearnedMixer
from openmix.tasks.mae import MAE
from openmix.tasks.rlmix import RLMixClassification

__all__ = ["OCCASIONAL", "PHASES", "PhaseClock", "Place", "marked", "places", "replaced", "watched_loader"]

LOOP = "the loop itself"
DATA, PREPARE = "waiting for data", "to the device, normalise"
TASK, LOOK, DRAW, APPLY = "rest of the task", "mixing: look at images", "mixing: draws, masks", "mixing: apply"
FORWARD, OTHERS, LOSS = "forward", "forward: other networks", "loss"
BACKWARD, CHECK, OPTIMIZER = "backward", "finite check, clipping", "optimizer"
AFTER, HOOKS, EMA, AVERAGES = "after the step", "hooks", "EMA", "averages, schedule, signals"
WAIT, RECORD, VALIDATION, CHECKPOINT = "waiting for the GPU", "record", "validation", "checkpoint"

# Within which others each phase counts by itself; anywhere else its time is that of what it is called in: the network's
# pass over clean images, which a method asks for, is no 'forward'. In the order of a step.
PHASES: dict[str, tuple[str, ...]] = {
    DATA: (LOOP,),
    PREPARE: (LOOP,),
    LOOK: (TASK,),
    DRAW: (TASK,),
    APPLY: (TASK, DRAW),
    FORWARD: (TASK,),
    OTHERS: (TASK,),
    LOSS: (TASK,),
    TASK: (LOOP,),
    BACKWARD: (LOOP,),
    CHECK: (LOOP,),
    OPTIMIZER: (LOOP,),
    AFTER: (LOOP,),
    EMA: (HOOKS,),
    HOOKS: (LOOP,),
    AVERAGES: (LOOP,),
    WAIT: (LOOP,),
    LOOP: (),
    RECORD: (LOOP,),
    VALIDATION: (LOOP,),
    CHECKPOINT: (LOOP,),
}
# no part of a step: they come now and then, and wait for a GPU before they begin
OCCASIONAL = (RECORD, VALIDATION, CHECKPOINT)


class PhaseClock:
    """Says how long a thread was in which phase; a moment belongs to the innermost one, so all of them add up.

    Args:
        device: what is waited for before what is :data:`OCCASIONAL` begins, and at the end of :meth:`read`.

    Attributes:
        seconds: by phase, since :meth:`reset`.
        calls: likewise, how often it was entered.
        tracing: whether phases are shown to torch's profiler as well (``record_function``).
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.tracing = False
        self._thread = threading.get_ident()  # the others' time passes beside this one's
        self._stack: list[tuple[str, Any]] = [(LOOP, None)]
        self._last = time.perf_counter()

    def reset(self) -> None:
        """Begin anew, in the phase that this is."""
        self._wait()
        self.seconds.clear()
        self.calls.clear()
        self._last = time.perf_counter()

    def read(self) -> dict[str, tuple[float, int]]:
        """Return seconds and calls by phase since :meth:`reset`, what a GPU has still to do included."""
        self._tick()
        self._wait()
        return {phase: (self.seconds[phase], self.calls[phase]) for phase in PHASES if self.seconds[phase]}

    def total(self) -> float:
        """Return the seconds of all phases that belong to a step, until now."""
        self._tick()
        return sum(seconds for phase, seconds in self.seconds.items() if phase not in OCCASIONAL)

    def mark(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and counts as a phase where it may begin one."""

        @functools.wraps(function)
        def marked(*args: Any, **kwargs: Any) -> Any:
            # what is compiled is one piece, and a mark would break it
            if torch.compiler.is_compiling() or not self._may_begin(phase):
                return function(*args, **kwargs)
            self._enter(phase)
            try:
                return function(*args, **kwargs)
            finally:
                self._leave()

        return marked

    def _may_begin(self, phase: str) -> bool:
        return self._stack[-1][0] in PHASES[phase] and threading.get_ident() == self._thread

    def _enter(self, phase: str) -> None:
        if phase in OCCASIONAL:
            self._wait()
        self._tick()
        self.calls[phase] += 1
        shown = torch.profiler.record_function(phase) if self.tracing else None
        if shown is not None:
            shown.__enter__()
        self._stack.append((phase, shown))

    def _leave(self) -> None:
        phase, shown = self._stack.pop()
        if shown is not None:
            shown.__exit__(None, None, None)
        self.seconds[phase] += self._since()

    def _since(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed

    def _tick(self) -> None:
        self.seconds[self._stack[-1][0]] += self._since()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            self._tick()
            torch.cuda.synchronize(self.device)
            self.calls[WAIT] += 1
            self.seconds[WAIT] += self._since()


class Place(NamedTuple):
    """Something that is called in a step: which phase it is, whose it is, and its name."""

    phase: str
    owner: Any
    name: str


def places(trainer: Any) -> list[Place]:
    """Return what a trainer calls in a step; a name that is gone is an AttributeError when it is marked."""
    step, task = trainer.step, trainer.task
    return [
        Place(PREPARE, Batch, "to"),
        Place(PREPARE, trainer.normalize, "batch"),
        Place(TASK, *_call_of(trainer.model)),
        *(Place(LOOK, MixContext, name) for name in ("_serve", "pass_once")),
        Place(LOOK, RLMixClassification, "_look"),
        *(Place(DRAW, kind, "draw") for kind in (Choice, Window)),
        *(Place(DRAW, kind, "__call__") for kind in (Mixer, Composition, LearnedMixer)),
        *(Place(DRAW, mixer, "function") for mixer in getattr(task, "mixers", ()) if hasattr(mixer, "function")),
        Place(DRAW, LearnedMixing, "shares"),
        Place(DRAW, MAE, "_draw"),
        *(Place(APPLY, plan, "apply") for plan in _plans()),
        Place(APPLY, Draw, "mixed"),
        *_networks(task),
        Place(FORWARD, MAE, "encode"),
        Place(OTHERS, MomentumContrast, "encode"),
        Place(OTHERS, LearnedMixing, "mask_features"),
        Place(OTHERS, LearnedMixing, "judge"),
        Place(LOSS, ClsHead, "loss"),
        Place(BACKWARD, Tensor, "backward"),
        Place(CHECK, step, "_clipped"),
        Place(CHECK, FiniteCheck, "__call__"),
        Place(OPTIMIZER, trainer.optimizer, "step"),
        Place(OPTIMIZER, trainer.optimizer, "zero_grad"),
        Place(AFTER, task, "after_step"),
        Place(HOOKS, HookList, "__call__"),
        Place(EMA, AveragedModel, "update_parameters"),
        Place(AVERAGES, trainer.averages, "add"),
        Place(AVERAGES, trainer.schedule, "after_step"),
        Place(AVERAGES, trainer.reporter, "advance"),
        Place(AVERAGES, trainer.stop, "agreed"),
        Place(RECORD, trainer, "_log"),
        Place(VALIDATION, trainer, "_validate"),
        Place(CHECKPOINT, trainer, "save"),
    ]


def _plans(kind: type = OnDevice) -> Iterator[type]:
    """Yield every class of plans that says how it is applied."""
    for plan in kind.__subclasses__():
        if "apply" in vars(plan):
            yield plan
        yield from _plans(plan)


def _networks(task: nn.Module) -> Iterator[Place]:
    for name, child in task.named_children():
        phase = {"mix_block": DRAW, "teacher": OTHERS, "guide": LOOK}.get(name, FORWARD)
        for network in child.children() if isinstance(child, nn.ModuleDict) else [child]:
            yield Place(phase, *_call_of(network))


def _call_of(module: nn.Module) -> tuple[nn.Module, str]:
    """Return what to wrap of a module, which is called as ``module(...)``: a compiled one from outside alone."""
    return module, "forward" if module._compiled_call_impl is None else "_compiled_call_impl"


@contextmanager
def marked(trainer: Any, clock: PhaseClock) -> Iterator[None]:
    """Have a clock see the phases of a trainer's steps, but for the loader's (:func:`watched_loader`)."""
    with ExitStack() as stack:
        for phase, owner, name in places(trainer):
            stack.enter_context(replaced(owner, name, clock.mark(phase, getattr(owner, name))))
        yield


@contextmanager
def watched_loader(loader: Any, clock: PhaseClock) -> Iterator[None]:
    """Have a clock see how long a loader's epochs that begin from now on are waited for."""

    def epoch(*args: Any, **kwargs: Any) -> Iterator[Any]:
        batches = iter(original(*args, **kwargs))
        following, end = clock.mark(DATA, lambda: next(batches, end)), object()
        try:
            while (found := following()) is not end:
                yield found
        finally:
            close = getattr(batches, "close", None)
            if close is not None:
                close()

    original = loader.epoch
    with replaced(loader, "epoch", epoch):
        yield


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let an object or class have another attribute for a while; what it had, or inherited, is there again then."""
    had = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
