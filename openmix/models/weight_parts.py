"""Which tensors of a checkpoint are of the network, of what is beside it, and of what stands behind its trunk."""

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = [
    "BEHIND", "BESIDE", "CLASSIFIER", "FC_NORM", "HEAD", "TRUNK", "own_head", "own_parts", "own_probe", "replaced_norm",
    "without_copies",
]  # fmt: skip

# what networks call their classifier, behind which nothing but weight and bias comes
CLASSIFIER = re.compile(
    r"^(?:fc|linear|classifier|classifier\.1|fc_out|head|head\.fc|heads\.head|head\.layers\.head)\.(weight|bias)$"
)
HEAD = "head.fc."
PROBE = "probe."
TRUNK = "backbone."
# what a task has beside its network: a guide, a momentum encoder, what learns how to mix, what learning without labels
# takes
BESIDE = (
    "guide.", "learner.", "teacher.", "mix_block.", "head_one.",
    "probe.", "projector.", "predictor.", "queue.", "decoder.",
)  # fmt: skip
# how MAE's own code begins the names of what is there for pre-training alone
MAE_DECODER = ("decoder_", "mask_token")
# what stands behind a trunk's last block, and what pre-training may have done without: the norm of averaged tokens and
# the attention pooling of timm's transformers, a neck with weights, the norm before a probe
BEHIND = re.compile(r"^(backbone\.net\.(?:fc_norm|attn_pool)|neck|norm)\.")
FC_NORM = f"{TRUNK}net.fc_norm"


def without_copies(
    weights: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Leave out what is kept beside a network and the module has not: a guide, a learner, a classifier.

    So are OpenMixup's ``backbone_k``, a teacher, and ``ema_NAME`` for each NAME. What its averaging hook calls
    ``ema_NAME`` is not the average when it saves: it swaps the two.
    """
    has_head = any(key.startswith(HEAD) for key in target)
    copies = {"ema_" + key.replace(".", "_") for key in weights}
    has_trunk = any(key.startswith(TRUNK) for key in weights)
    ignored = tuple(
        key
        for key in weights
        if key in copies
        or (has_trunk and key.startswith("backbone_k."))
        or (key.startswith((*BESIDE, *MAE_DECODER)) and key not in target)
        or (not has_head and _is_classifier(key) and not {key, TRUNK + key} & target.keys())
    )
    return {key: value for key, value in weights.items() if key not in ignored}, ignored


def _is_classifier(key: str) -> bool:
    return key.startswith(HEAD) or CLASSIFIER.match(key.removeprefix(TRUNK)) is not None


def own_probe(renamed: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the task's online probe where the file has none."""
    return tuple(key for key in target if key.startswith(PROBE) and key not in renamed)


def own_head(renamed: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the task's classifier where the file has none, or one with other classes."""
    head = tuple(key for key in target if key.startswith(HEAD))
    theirs, ours = renamed.get(HEAD + "weight"), target.get(HEAD + "weight")
    if ours is None or (theirs is not None and (theirs.shape == ours.shape or theirs.shape[1:] != ours.shape[1:])):
        return ()
    return head


def own_parts(renamed: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the parts behind the trunk of which the file has nothing at all."""
    found = {match[1] for key in renamed if key in target and (match := BEHIND.match(key))}
    return tuple(key for key in target if (match := BEHIND.match(key)) and match[1] not in found)


def replaced_norm(renamed: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of the norm of all tokens, which that of averaged ones takes the place of."""
    of_tokens = (f"net.norm.{name}" for name in ("weight", "bias"))
    names = {candidate for name in of_tokens for candidate in (TRUNK + name, name, name.removeprefix("net."))}
    return tuple(key for key in renamed if key in names and key not in target)
