"""What a checkpoint's weights and its place in the run say, where nothing in it is trusted."""

from collections.abc import Mapping
from typing import Any

from openmix.data.timeline import Timeline
from openmix.engine.content import spell
from openmix.engine.weights import final_weights
from openmix.models.weights import odd_form

__all__ = ["epoch_of", "unfit_tensor"]

SPARE = 1 << 30  # bytes that a file's tensors may take beyond ten times what the file has


def unfit_tensor(state: Mapping[str, Any], size: int) -> str:
    """Say which of a checkpoint's weights can be no network's; nothing if all can.

    Args:
        state: a loaded checkpoint.
        size: of its file. A tensor may say that it repeats a number as often as it likes, and fill the memory.
    """
    weights = [state["model"], *([] if state["ema"] is None else [final_weights(state)])]
    if not all(weights):
        return "it holds no weights"
    tensors = [(name, tensor) for found in weights for name, tensor in found.items()]
    for name, tensor in tensors:
        if why := "without values" if tensor.is_meta else odd_form(tensor):
            return f"its weights {spell(name)} are {why}"
    if sum(tensor.nbytes for _, tensor in tensors) > 10 * size + SPARE:
        return "its weights are larger than the file can hold"
    for name, tensor in tensors:
        try:
            finite = bool(tensor.isfinite().all())
        except RuntimeError:  # torch has types of a few bits, which it cannot compute with
            return f"its weights {spell(name)} are {str(tensor.dtype).removeprefix('torch.')}, which no network has"
        if not finite:
            return f"its weights {spell(name)} are not all finite"
    return ""


def epoch_of(state: Mapping[str, Any]) -> str:
    """Return the epoch of a checkpoint's step, counted from 1; of one that is not finished also how far it had come.

    >>> epoch_of({"step": 12, "timeline": [[0, 6]]}), epoch_of({"step": 16, "timeline": [[0, 6]]})
    ('2', '3 (4/6)')
    """
    timeline, step = Timeline(tuple((first, steps) for first, steps in state["timeline"])), state["step"]
    if step == 0:
        return "0"
    epoch = timeline.epoch_of(step - 1)
    done, steps = step - timeline.start_of(epoch), timeline.steps_in(epoch)
    return f"{epoch + 1}" if done == steps else f"{epoch + 1} ({done}/{steps})"
