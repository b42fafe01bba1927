"""The catalogue of methods, and the decorator that enters a function; :mod:`openmix.mixers.mixer` makes mixers of them.

A method is a function in a file of this package. Its keyword arguments with defaults are its hyper-parameters, and
that signature is the single place that config checking, classes, tables and documentation read.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openmix.errors import did_you_mean

__all__ = ["GuidePass", "Kind", "Method", "get_method", "list_mixers", "mixer"]

Kind = Literal["input", "feature", "label", "learned", "mixed"]
GuidePass = Literal["eval", "train"]

# keyword arguments that are handed to a method at each call, and are no hyper-parameters of it
AT_CALL = ("generator", "pixel_range")


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
