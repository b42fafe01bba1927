"""openmix: mixing augmentations for image models.

The names below resolve on first use, which imports torch and nothing heavier. The package alone does not even import
torch, so that ``openmix COMMAND --help`` answers at once:

- ``build_mixer``, ``list_mixers`` and a class for every method: ``openmix.CutMix(alpha=1.0)(images, labels)``
- ``Choice``, ``PerSample``, ``Window``, ``Repeat``: mixers made of mixers
- ``TimmMixup``, ``MixCollate``: mixers in other libraries' places
- ``mix_cross_entropy``, ``mix_binary_cross_entropy``, ``decoupled_cross_entropy``, ``MixTarget``, ``Mixed``

Training from config files lives in ``openmix.engine`` and the ``openmix`` command.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from openmix.version import __version__

if TYPE_CHECKING:
    from openmix.interop import MixCollate, TimmMixup
    from openmix.mixers.catalog import list_mixers
    from openmix.mixers.compose import Choice, PerSample, Repeat, Window
    from openmix.mixers.mixer import build_mixer
    from openmix.ops.decoupled import decoupled_cross_entropy
    from openmix.ops.losses import mix_binary_cross_entropy, mix_cross_entropy
    from openmix.ops.target import Mixed, MixTarget

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
    found = None
    if name in _HOME:
        found = getattr(importlib.import_module(_HOME[name]), name)
    elif name[:1].isupper():
        from openmix.mixers.mixer import classes

        found = classes().get(name)
    if found is None:  # with the module, Python says which name may have been meant
        raise AttributeError(f"module 'openmix' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    globals()[name] = found  # for the next time
    return found


def __dir__() -> list[str]:
    from openmix.mixers.mixer import classes

    return sorted({*globals(), *__all__, *classes()} - {"Any", "TYPE_CHECKING", "importlib", "sys"})
