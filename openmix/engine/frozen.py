"""A mixer made of a checkpoint: what a run of learned mixing has learned, for others to mix by.

Nothing in the file is trusted. Its weights are read as data (:mod:`openmix.engine.checkpoint`) and so is its config,
text that is parsed and never executed; what that names must be registered, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openmix.engine.budget import Budget
from openmix.engine.checkpoint import ForeignFileError, load_checkpoint
from openmix.engine.content import printable
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.engine.weights import load_weights
from openmix.errors import UserError
from openmix.ops.plans import check_batch
from openmix.ops.target import Mixed
from openmix.registry import TASKS, build_task, lookup, name_of, reason_of
from openmix.tasks.learned import LearnedMixing
from openmix.tasks.learned_mixer import LearnedMixer

__all__ = ["FrozenMixer", "config_values", "frozen_mixer"]

ELSEWHERE = {"pretrained": False, "checkpoint": None}  # arguments that load weights, and what loads none
SPARE = 2**26  # bytes that building a network may take beside twice those of its weights


class FrozenMixer:
    """A learned mixer whose networks stay as they are, and are on whatever device the images are.

    Copies of it share the networks. A pickle holds those on the CPU.

    Args:
        mixer: of networks of its own, on the CPU.
    """

    def __init__(self, mixer: LearnedMixer) -> None:
        for network in (mixer.trunk, mixer.mix_block):
            network.eval().requires_grad_(False)
        self.mixer = mixer
        self._on = {torch.device("cpu"): mixer}

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator | None = None,
        pixel_range: Tensor | None = None,
    ) -> Mixed:
        """Mix a batch, see :class:`~openmix.tasks.learned_mixer.LearnedMixer`; the first on a device waits for it."""
        check_batch(images, labels)
        if images.device not in self._on:
            self._on[images.device] = self.mixer.to(images.device)
        return self._on[images.device](images, labels, generator=generator, pixel_range=pixel_range)

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenMixer:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenMixer, (self.mixer,)


def frozen_mixer(title: str, checkpoint: str | Path, **changes: float) -> FrozenMixer:
    """Return what mixes as the student of a run was shown.

    Args:
        title: the method's, such as 'AutoMix', as its task ``{title}Classification`` has it.
        checkpoint: a file that the run wrote. Of a run with ``EMAHook`` the networks are those that trained: the
            momentum encoder is an average itself.
        **changes: arguments of the task that are to have other values.

    Raises:
        UserError: the file is missing, damaged, no checkpoint of openmix, or another task's; or a value is out of
            range.
    """
    path = Path(checkpoint)
    try:
        state = load_checkpoint(path)
    except ForeignFileError as error:
        raise UserError(
            f"{path} was not written by openmix's training: it does not say what network it is of"
        ) from error
    try:
        cfg = config_values(state.get("config", ""))
        normal = Normalize(Preprocessor(**cfg.get("data_preprocessor", {})))
        mixer = _mixer_of(title, {**cfg.get("model", {}), **changes}, state["model"])
    except Exception as error:  # what a file says may be wrong in any way
        raise UserError(f"{path}: {reason_of(error)}") from error
    return FrozenMixer(replace(mixer, normal=torch.stack([normal.shift, normal.scale]).flatten(1)))


def _mixer_of(title: str, model: Mapping[str, Any], weights: Mapping[str, Tensor]) -> LearnedMixer:
    """Build a task with the weights of a checkpoint, and return its mixer."""
    wanted, trained = f"{title}Classification", name_of(lookup(model.get("type"), TASKS))
    if trained != wanted:
        raise UserError(f"this checkpoint was trained by {printable(trained)}, and {title} takes one of {wanted}")
    most = 2 * sum(value.nbytes for value in weights.values()) + SPARE
    # whoever mixes may be in a context of another device, and has draws of its own to make
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), Budget("the network in its config", most):
        task = build_task(_without_elsewhere(model))
    load_weights(task, weights)
    assert isinstance(task, LearnedMixing)  # as all of these tasks are
    (mixer,) = task.mixers
    return mixer


def _without_elsewhere(value: Any) -> Any:
    """Return a config that loads no weights from elsewhere: the checkpoint has them all."""
    if isinstance(value, Mapping):
        return {key: ELSEWHERE.get(key, _without_elsewhere(part)) for key, part in value.items()}
    return value


def config_values(text: str) -> dict[str, Any]:
    """Return what a config's text says, as :func:`openmix.engine.config.config_text` writes it; nothing is executed.

    Raises:
        UserError: it is anything else than names that are given literals.

    >>> config_values("model = {'type': 'AutoMixClassification', 'alpha': 2.0}")
    {'model': {'type': 'AutoMixClassification', 'alpha': 2.0}}
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings
            return dict(_assignment(statement) for statement in ast.parse(text).body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UserError(f"its config is not data alone: {printable(str(error)) or type(error).__name__}") from error


def _assignment(node: ast.stmt) -> tuple[str, Any]:
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        raise ValueError(f"line {node.lineno} is no value that is given a name")
    return node.targets[0].id, ast.literal_eval(_Floats().visit(node.value))


class _Floats(ast.NodeTransformer):
    """Puts the two numbers that Python cannot spell, ``float("inf")`` and ``float("nan")``, in place of their calls."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(func=ast.Name("float"), args=[ast.Constant("inf" | "nan" as number)], keywords=[]):
                return ast.copy_location(ast.Constant(float(number)), node)
        return node
