"""Which tensors of a checkpoint are of the network, of what is beside it, and of what stands behind its trunk."""

import re
from collections.abc import Mapping

from torch import Tensor

__all__ = [
    "ANEW", "BEHIND", "BESIDE", "CLASSIFIER", "FC_NORM", "HEAD", "TRUNK", "own_head", "own_learnt", "own_parts",
    "replaced_norm", "unfit", "without_copies",
]  # fmt: skip

# what networks call their classifier, behind which nothing but weight and bias comes
CLASSIFIER = re.compile(
    r"^(?:fc|linear|classifier|classifier\.1|fc_out|head|head\.fc|heads\.head|head\.layers\.head)\.(weight|bias)$"
)
HEAD = "head.fc."
TRUNK = "backbone."
# what a task has beside its network and begins with anew in each run: a guide, a momentum encoder, what learns to mix
ANEW = ("guide.", "learner.", "teacher.", "mix_block.", "head_one.")
# what learning without labels takes beside the trunk, and goes on with where a file has it
LEARNT = ("probe.", "projector.", "predictor.", "queue.", "decoder.")
BESIDE = (*ANEW, *LEARNT)
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


def own_learnt(renamed: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of what learning without labels takes beside the trunk, of parts that the file's do not fit."""
    return tuple(key for prefix in LEARNT for key in unfit(prefix, renamed, target))


def unfit(prefix: str, renamed: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Return the names of a part of the task where the file's has not all of them, in the same shapes."""
    names = tuple(key for key in target if key.startswith(prefix))
    fits = all(key in renamed and renamed[key].shape == target[key].shape for key in names)
    return () if fits else names


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
