"""mmengine's hooks: which of them act, when."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
        for method in self._acting(point):
            method(self.runner, **arguments)

    def acts_at(self, point: str) -> bool:
        """Tell whether a hook acts at ``point``, so that nobody need prepare what none asks for."""
        return bool(self._acting(point))

    def _acting(self, point: str) -> list[Any]:
        if point not in self._at:
            self._at[point] = [getattr(h, point) for h in self.hooks if point in h.get_triggered_stages()]
        return self._at[point]

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the hooks that have any, by class name and number."""
        return {name: hook.state_dict() for name, hook in self._stateful()}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; a hook that it does not know stays new."""
        for name, hook in self._stateful():
            if name in states:
                hook.load_state_dict(states[name])

    def _stateful(self) -> Iterator[tuple[str, Any]]:
        count: Counter[str] = Counter()
        for hook in self.hooks:
            if hasattr(hook, "state_dict"):
                name = type(hook).__name__
                count[name] += 1
                yield f"{name}-{count[name]}", hook
