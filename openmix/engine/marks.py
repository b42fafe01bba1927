"""Marks around what a trainer calls in a step, put there from outside.

The loop itself has no marks, as every run would pay for them. Whoever wants to know wraps what :func:`places` names,
for as long as it wants to, and nothing remains of it afterwards. Meanwhile each mark takes about 2 microseconds, and a
step has some 25.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

from openmix.data.batch import Batch
from openmix.engine.ema import EMAHook
from openmix.engine.hooks import HookList
from openmix.engine.nonfinite import FiniteCheck
from openmix.engine.phases import (
    AFTER,
    APPLY,
    AVERAGES,
    BACKWARD,
    CHECK,
    CHECKPOINT,
    DATA,
    DRAW,
    EMA,
    FORWARD,
    HOOKS,
    LOOK,
    LOSS,
    OPTIMIZER,
    OTHER_RANKS,
    OTHERS,
    PREPARE,
    RECORD,
    TASK,
    VALIDATION,
    PhaseClock,
)
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

__all__ = ["Place", "marked", "places", "replaced", "watched_loader"]


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
        Place(TASK, *_call_of(task)),
        *([] if trainer.model is task else [Place(OTHER_RANKS, *_call_of(trainer.model))]),
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
        Place(AFTER, task, "after_step"),
        Place(HOOKS, HookList, "__call__"),
        Place(EMA, EMAHook, "move"),
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
