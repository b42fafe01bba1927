"""The callable object made of an entry of the catalogue: a method with its hyper-parameters, as CutMix(alpha=1.0)."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from openmix.errors import did_you_mean
from openmix.mixers.catalog import GuidePass, Kind, Method, get_method, list_mixers
from openmix.ops.checks import check_flag
from openmix.ops.guidance import serve
from openmix.ops.plans import check_batch
from openmix.ops.target import Mixed

__all__ = ["ELSEWHERE", "Mixer", "build_mixer", "classes", "mixer_class"]

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

ELSEWHERE = {
    "feature": "mixes inside a network: use it as a mix_mode of MixUpClassification",
    "label": "relabels after the forward pass: use it as a mix_mode of MixUpClassification",
    "learned": "owns parameters and trains with the network: use its own task, {title}Classification, or give it "
    "checkpoint='work_dirs/RUN/checkpoints/last.pth' of a run of that",
    "mixed": "is made of several kinds: list them as mix_mode of MixUpClassification",
}


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
    return {method.title: _class_of(method) for method in map(get_method, list_mixers())}
