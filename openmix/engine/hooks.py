"""mmengine's hooks: which of them act, when."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook

__all__ = ["HookList"]


class HookList:
    """Calls the hooks that do something at a point; the others cost nothing.

    Args:
        hooks: mmengine hooks, in the order in which they are to act.
        runner: what they are handed.
    """

    def __init__(self, hooks: Sequence[Hook], runner: Any) -> None:
        self.hooks = hooks
        self.runner = runner
        self._at: dict[str, list[Any]] = {}

    def __call__(self, point: str, **arguments: Any) -> None:
        """Call every hook that acts at ``point``, a method name of mmengine's ``Hook``."""
        if point not in self._at:
            acts = [h for h in self.hooks if _overrides(h, point)]
            self._at[point] = [getattr(h, point) for h in acts]
        for method in self._at[point]:
            method(self.runner, **arguments)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the hooks that have any, by class name."""
        return {type(h).__name__: h.state_dict() for h in self.hooks if hasattr(h, "state_dict")}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for hook in self.hooks:
            if type(hook).__name__ in states:
                hook.load_state_dict(states[type(hook).__name__])


def _overrides(hook: Hook, point: str) -> bool:
    """Tell whether a hook does anything at a point; mmengine's defaults pass some points on to general ones."""
    general = {"train_iter": "iter", "val_iter": "iter", "train_epoch": "epoch", "val_epoch": "epoch"}
    names = [point]
    for specific, common in general.items():
        if point.endswith(specific):
            names.append(point[: -len(specific)] + common)
    return any(getattr(type(hook), name) is not getattr(Hook, name) for name in names)
