"""The catalogue of methods: a decorator that enters a function, and the callable object made from an entry.

A method is a function in a file of this package. Its keyword arguments with defaults are its hyper-parameters, and
that signature is the single place that config checking, classes, tables and documentation read.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from openmix.errors import did_you_mean
from openmix.ops.checks import check_flag
from openmix.ops.guidance import serve
from openmix.ops.plans import check_batch
from openmix.ops.target import Mixed

__all__ = ["Method", "Mixer", "build_mixer", "classes", "get_method", "list_mixers", "mixer", "mixer_class"]

Kind = Literal["input", "feature", "label", "learned", "mixed"]
GuidePass = Literal["eval", "train"]

# of two images: what methods are tried out on
_EXAMPLES = {
    "saliency": torch.ones(2, 32, 32, device="cpu"),
    "attention": torch.ones(2, 8, 8, device="cpu"),
    "rollout": torch.ones(2, 8, 8, device="cpu"),
    "cam": torch.ones(2, 8, 8, device="cpu"),
    "features": torch.ones(2, 2, 8, 8, device="cpu"),
    "logits": torch.zeros(2, 2, device="cpu"),
}

SIGNED = ("cam", "features", "logits")  # needs that may be negative

# keyword arguments that are handed to a method at each call, and are no hyper-parameters of it
AT_CALL = ("generator", "pixel_range")

ELSEWHERE = {
    "feature": "mixes inside a network: use it as a mix_mode of MixUpClassification",
    "label": "relabels after the forward pass: use it as a mix_mode of MixUpClassification",
    "learned": "owns parameters and trains with the network: use its own task, {title}Classification, or give it "
    "checkpoint='work_dirs/RUN/checkpoints/last.pth' of a run of that",
    "mixed": "is made of several kinds: list them as mix_mode of MixUpClassification",
}


@dataclass(frozen=True)
class Method:
    """An entry of the catalogue.

    Attributes:
        name: what ``mix_mode`` takes; the function's name.
        title: the paper's spelling; the class's name.
        function: the method.
        kind: where it works: 'input', 'feature', 'label' or 'learned'.
        needs: tensors that it must be handed besides images and labels, by keyword.
        presets: named sets of hyper-parameters, for ports that differ from the authors' code.
        base: for kind 'label', the input method whose labels it redraws; its hyper-parameters are taken as well.
        paper: what to cite, "Authors, venue year"; empty where nobody published it.
        link: the paper's address.
        lam: what the own label's weight is, in a few words.
        hints: for arguments that other code bases have and this method has not, what to write instead.
        guide_pass: in which mode the paper's authors run the network for what :attr:`needs` names: 'eval', on running
            statistics that stay as they are, or 'train', which moves them.
    """

    name: str
    title: str
    function: Callable[..., Any]
    kind: Kind
    needs: tuple[str, ...]
    presets: Mapping[str, Mapping[str, Any]] = field(hash=False)
    base: str | None
    paper: str = ""
    link: str = ""
    lam: str = ""
    hints: Mapping[str, str] = field(default_factory=dict, hash=False)
    guide_pass: GuidePass = "eval"

    @functools.cached_property
    def own_hyper(self) -> dict[str, inspect.Parameter]:
        """The function's hyper-parameters: keyword-only arguments with a default, but for :data:`AT_CALL`."""
        parameters = inspect.signature(self.function, eval_str=True).parameters.values()
        return {
            p.name: p
            for p in parameters
            if p.kind is p.KEYWORD_ONLY and p.default is not p.empty and p.name not in AT_CALL
        }

    @functools.cached_property
    def takes_pixel_range(self) -> bool:
        """Whether the method works on colours, and has to be told what black and white are."""
        return self.kind == "learned" or "pixel_range" in inspect.signature(self.function).parameters

    @functools.cached_property
    def hyper(self) -> dict[str, inspect.Parameter]:
        """All hyper-parameters: the base's, where there is one, and the function's own."""
        return {**(get_method(self.base).hyper if self.base else {}), **self.own_hyper}


_METHODS: dict[str, Method] = {}


def mixer(
    title: str,
    *,
    kind: Kind = "input",
    needs: Sequence[str] = (),
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    base: str | None = None,
    paper: str = "",
    link: str = "",
    lam: str = "",
    hints: Mapping[str, str] | None = None,
    guide_pass: GuidePass = "eval",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function in the catalogue, under its own name; the function itself is returned unchanged.

    Its signature by kind, with a generator that may be None and hyper-parameters after it:

    - input: ``(images, labels, *, generator=None, <needs>, ...) -> Mixed``; a method that computes with colours takes
      ``pixel_range=None`` as well, (2, C): the values of black and of white in the images, None for 0 and 1
    - feature: ``(labels, *, generator=None, stages, ...) -> FeatureMix``
    - label: ``(mixed, *, <needs>, ...) -> MixTarget``
    - learned: ``(*, checkpoint=None, ...) -> callable``, what mixes as a function of kind 'input' does, made of a run
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        _METHODS[name] = Method(
            name, title, function, kind, tuple(needs), presets or {}, base, paper, link, lam, hints or {}, guide_pass
        )
        return function

    return register


@functools.cache
def _discover() -> None:
    """Import every module of this package once: a new method is a new file and nothing else."""
    package = importlib.import_module("openmix.mixers")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"openmix.mixers.{module.name}")


def list_mixers() -> list[str]:
    """Return the names of all methods, sorted: what ``mix_mode`` and :func:`build_mixer` take."""
    _discover()
    return sorted(_METHODS)


def get_method(name: str) -> Method:
    """Return the catalogue's entry.

    Raises:
        ValueError: no such method; the message suggests the nearest.
    """
    _discover()
    if name not in _METHODS:
        raise ValueError(f"unknown mixing method {name!r}{did_you_mean(name, _METHODS)}")
    return _METHODS[name]


class Mixer:
    """A method with its hyper-parameters, callable on batches: ``CutMix(alpha=1.0)(images, labels)``.

    Args:
        preset: a named set of hyper-parameters of the method, for example 'openmixup'; None is the authors' code.
        **hyper: hyper-parameters of the method; they override the preset's.

    Raises:
        ValueError: unknown preset or hyper-parameter (the message suggests the nearest), or a value out of range.
    """

    method: Method
    hyper: dict[str, Any]
    function: Callable[..., Any]
    base: Mixer | None

    def __init__(self, *, preset: str | None = None, **hyper: Any) -> None:
        method = self.method
        if preset is not None and preset not in method.presets:
            raise ValueError(f"{method.name} has no preset {preset!r}{did_you_mean(preset, method.presets)}")
        for key in hyper:
            if key not in method.hyper:
                hint = method.hints.get(key) or did_you_mean(key, method.hyper)
                raise ValueError(f"{method.name} takes no {key!r}{hint}")
            if method.hyper[key].annotation is bool:
                check_flag(key, hyper[key])
        self.hyper = {**(method.presets[preset] if preset else {}), **hyper}
        self.function = self._bind({k: v for k, v in self.hyper.items() if k in method.own_hyper})
        rest = {k: v for k, v in self.hyper.items() if k not in method.own_hyper}
        self.base = build_mixer(method.base, **rest) if method.base else None
        self._try_out()

    def _bind(self, hyper: dict[str, Any]) -> Callable[..., Any]:
        """Return the method with its hyper-parameters."""
        return functools.partial(self.method.function, **hyper)

    def _try_out(self) -> None:
        """Draw once for two images, so that a wrong value fails here and not in the first step of a run."""
        generator, labels = torch.Generator("cpu").manual_seed(0), torch.arange(2, device="cpu")
        needs = {need: _EXAMPLES.get(need.removeprefix("clean_")) for need in self.needs}
        if None in needs.values():  # one that only a task of the user's own knows
            return
        if self.kind == "input":
            self.function(torch.zeros(2, 1, 32, 32, device="cpu"), labels, generator=generator, **needs)
        elif self.kind == "label" and self.base is not None and not self.base.needs:
            images = torch.zeros(2, 1, 32, 32, device="cpu")
            self.function(self.base(images, labels, generator=generator), **needs)
        elif self.kind == "feature":
            self.function(labels, generator=generator, stages=tuple(map(str, range(1, 33))))

    @property
    def name(self) -> str:
        """The method's name in the catalogue."""
        return self.method.name

    @property
    def kind(self) -> Kind:
        """Where the method works: 'input', 'feature', 'label' or 'learned'."""
        return self.method.kind

    @property
    def elsewhere(self) -> str:
        """Of a kind that cannot be called on images: why, and what to do instead."""
        return ELSEWHERE[self.kind].format(title=self.method.title)

    @property
    def frozen(self) -> bool:
        """Whether it mixes by a finished run's networks, which take images such as they were trained on alone."""
        return False

    @property
    def needs(self) -> tuple[str, ...]:
        """What the method must be handed besides images and labels."""
        return self.method.needs

    @property
    def guide_pass(self) -> GuidePass:
        """In which mode the authors run the network for what the method needs."""
        return self.method.guide_pass

    def draw(self, generator: torch.Generator | None = None, epoch: int | None = None) -> Mixer:
        """Return the mixer itself: which mixer mixes the next batch is drawn by compositions."""
        return self

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator | None = None,
        model: torch.nn.Module | None = None,
        pixel_range: Tensor | None = None,
        epoch: int | None = None,
        guide_pass: GuidePass | None = None,
        **needs: Tensor,
    ) -> Mixed:
        """Mix a batch.

        Args:
            images: floating (B, C, H, W); not modified.
            labels: int64 (B,).
            generator: a CPU generator; None takes torch's default one. Same state, same mix, on every device.
            model: images -> logits, a network to compute what :attr:`needs` names and is not given, in the mode that
                :attr:`guide_pass` says; not used where nothing is needed. Its gradients are left alone.
            pixel_range: float (2, C), the values of black and of white in the images; None for images in [0, 1]. Only
                methods that compute with colours look at it.
            epoch: not used; compositions that act in some epochs only pass it on.
            guide_pass: the mode that ``model`` runs in for it: 'eval' changes nothing in it, 'train' moves BatchNorm's
                statistics. None is the authors' (:attr:`guide_pass`).
            **needs: what :attr:`needs` names, for example ``saliency`` (B, H, W).

        Raises:
            TypeError: the method is not of kind 'input', or is not given what it needs, or the model cannot serve it.
            ValueError: tensors of another type, shape or device; on a CPU, also needs that are not finite, or negative
                where they must not be.
        """
        if self.kind != "input":
            raise TypeError(f"{self.name} cannot be called on images: it {self.elsewhere}")
        for key in needs:
            if key not in self.needs:
                raise TypeError(f"{self.name} takes no {key!r}; it needs: {', '.join(self.needs) or 'nothing'}")
        missing = [n for n in self.needs if n not in needs]
        if missing and model is None:
            raise TypeError(f"{self.name} needs {', '.join(missing)}: pass {missing[0]}=, or model= to compute it on")
        if self.needs:
            check_batch(images, labels)
        for key, value in needs.items():
            _check_need(key, value, images)
        if missing and model is not None:
            needs |= serve(missing, model, images, labels, guide_pass or self.guide_pass)
        if self.method.takes_pixel_range:
            return self.function(images, labels, generator=generator, pixel_range=pixel_range, **needs)
        return self.function(images, labels, generator=generator, **needs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.name, self.hyper)

    def __repr__(self) -> str:
        values = {k: self.hyper.get(k, p.default) for k, p in self.method.hyper.items()}
        return f"{self.method.title}({', '.join(f'{k}={v!r}' for k, v in values.items())})"


class LearnedMethod(Mixer):
    """A method of kind 'learned': made of a run's checkpoint it is of kind 'input', and without one names its task."""

    @property
    def frozen(self) -> bool:
        """Whether it is made of a checkpoint."""
        return self.hyper.get("checkpoint") is not None

    @property
    def kind(self) -> Kind:
        """'input' with a checkpoint, else 'learned'."""
        return "input" if self.frozen else "learned"

    def _bind(self, hyper: dict[str, Any]) -> Callable[..., Any]:
        return self.method.function(**hyper) if self.frozen else super()._bind(hyper)

    def _try_out(self) -> None:
        """Leave it: images that its networks take are not known."""

    def __reduce__(self) -> tuple[Any, ...]:
        # with the networks, as the file may be another one by then, or not be there
        return _restore, (self.name, self.hyper, self.function)


def _check_need(name: str, value: Any, images: Tensor) -> None:
    """Raise ValueError unless a need can be of these images; its numbers are looked at on a CPU only."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or 0 in value.shape:
        got = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} must be a floating point tensor with an entry for each image, got {got}")
    if len(value) != len(images) or value.device != images.device:
        got = f"{len(value)} on {value.device}"
        raise ValueError(f"{name} must be of the batch's {len(images)} images, on {images.device}; got {got}")
    if value.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (bound.item() for bound in value.aminmax())
        least = -math.inf if name in SIGNED else 0
        if not (least <= low and -math.inf < low <= high < math.inf):  # so written, NaN fails as well
            wanted = "finite" if name in SIGNED else "finite and at least 0"
            raise ValueError(f"{name} must be {wanted}, got values from {low} to {high}")


@functools.cache
def _class_of(method: Method) -> type[Mixer]:
    """Make the class of a method: a :class:`Mixer` whose signature is the method's hyper-parameters."""
    preset = inspect.Parameter("preset", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str | None)
    namespace = {
        "method": method,
        "__doc__": method.function.__doc__,
        "__module__": "openmix",
        "__signature__": inspect.Signature([*method.hyper.values(), preset]),
    }
    made: Any = type(method.title, (LearnedMethod if method.kind == "learned" else Mixer,), namespace)
    return made


def _rebuild(name: str, hyper: dict[str, Any]) -> Mixer:
    return build_mixer(name, **hyper)


def _restore(name: str, hyper: dict[str, Any], function: Callable[..., Any]) -> Mixer:
    mixer = object.__new__(mixer_class(name))
    mixer.hyper, mixer.function, mixer.base = hyper, function, None
    return mixer


def build_mixer(name: str, preset: str | None = None, **hyper: Any) -> Mixer:
    """Build a mixer by name.

    Args:
        name: one of :func:`list_mixers`.
        preset: see :class:`Mixer`.
        **hyper: see :class:`Mixer`.

    Raises:
        ValueError: unknown name, preset or hyper-parameter, with the nearest known one; or a value out of range.

    >>> build_mixer("cutmix", alpha=0.2)
    CutMix(alpha=0.2, per_sample=False, tries=1)
    """
    return mixer_class(name)(preset=preset, **hyper)


def mixer_class(name: str) -> type[Mixer]:
    """Return the class of a method by its name: ``mixer_class("cutmix")(alpha=1.0)``."""
    return _class_of(get_method(name))


def classes() -> dict[str, type[Mixer]]:
    """Return the class of every method by its title: ``classes()["CutMix"](alpha=1.0)``."""
    return {_METHODS[name].title: _class_of(_METHODS[name]) for name in list_mixers()}
