"""openmix: mixing augmentations for image models.

The names below resolve on first use, so that ``import openmix`` costs what ``import torch`` costs:

- ``build_mixer``, ``list_mixers`` and a class for every method: ``openmix.CutMix(alpha=1.0)(images, labels)``
- ``Choice``, ``PerSample``, ``Window``, ``Repeat``: mixers made of mixers
- ``TimmMixup``, ``MixCollate``: mixers in other libraries' places
- ``mix_cross_entropy``, ``mix_binary_cross_entropy``, ``decoupled_cross_entropy``, ``MixTarget``, ``Mixed``

Training from config files lives in ``openmix.engine`` and the ``openmix`` command.
"""

import importlib
from typing import Any

import torch  # noqa: F401  the one import that everything here rests on, paid for at a known place

from openmix.version import __version__

_HOME = {
    "Choice": "openmix.mixers.compose",
    "PerSample": "openmix.mixers.compose",
    "Repeat": "openmix.mixers.compose",
    "Window": "openmix.mixers.compose",
    "MixCollate": "openmix.interop",
    "TimmMixup": "openmix.interop",
    "build_mixer": "openmix.mixers.mixer",
    "decoupled_cross_entropy": "openmix.ops.decoupled",
    "list_mixers": "openmix.mixers.catalog",
    "mix_binary_cross_entropy": "openmix.ops.losses",
    "mix_cross_entropy": "openmix.ops.losses",
    "MixTarget": "openmix.ops.target",
    "Mixed": "openmix.ops.target",
}

__all__ = [
    "Choice", "MixCollate", "MixTarget", "Mixed", "PerSample", "Repeat", "TimmMixup", "Window", "__version__",
    "build_mixer", "decoupled_cross_entropy", "list_mixers", "mix_binary_cross_entropy", "mix_cross_entropy",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name[:1].isupper():
        from openmix.mixers.mixer import classes

        if name in classes():
            return classes()[name]
    raise AttributeError(f"module 'openmix' has no attribute {name!r}")


def __dir__() -> list[str]:
    from openmix.mixers.mixer import classes

    return sorted({*globals(), *__all__, *classes()})
