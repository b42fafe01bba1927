"""Who is missing, where one of several processes waits in vain for another."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import torch.distributed as dist

from openmix.engine.distributed import World
from openmix.errors import Reported

__all__ = ["PeerError", "peers_watched"]

ROLL_CALL = 5.0  # seconds for those that are well to say so; all notice within moments of each other
TOLD = 300  # characters of another process's error


class PeerError(Reported):
    """Another process of the run has failed, or does not answer any more."""


@contextlib.contextmanager
def peers_watched(world: World) -> Iterator[None]:
    """Let an exchange between processes that fails end with the names of those that are to blame.

    A process whose exchange fails says so in the store that all share, and looks who else says something. Who says
    something else has failed of itself; who says nothing hangs or is gone, or has not noticed yet: of three processes,
    one may still be waiting for the one that speaks. In a run that is well nothing of this costs anything.

    Args:
        world: the processes.

    Raises:
        PeerError: from the error of torch's that tells of it.
    """
    if world.size == 1 or not dist.is_initialized():
        yield
        return
    store = dist.distributed_c10d._get_default_store()  # of this process's own: it outlives the connections
    try:
        yield
    except BaseException as error:
        said: dict[int, str] = {}
        if isinstance(error, Reported) or not isinstance(error, RuntimeError) or not _is_of_an_exchange(error):
            what = f"{type(error).__name__}: {error}"
            _within(ROLL_CALL, lambda: store.set(_key(world.rank), what[:TOLD]))
            raise
        _within(2 * ROLL_CALL, lambda: _roll_call(store, world, said))
        waited = f"has not answered for {world.timeout:g} s: it hangs, or is gone"
        silence = waited if "imed out" in str(error) else "is gone, or hangs"
        raise PeerError(_blame(world, said, silence)) from error


def _is_of_an_exchange(error: RuntimeError) -> bool:
    """Tell whether a peer's silence made torch raise this. Only its text tells, as gloo's errors have no type."""
    text = str(error)
    return isinstance(error, dist.DistError) or any(
        sign in text for sign in ("gloo", "NCCL", "Connection closed by peer", "Timed out waiting", "DistBackend")
    )


def _key(rank: int) -> str:
    return f"openmix/failed/{rank}"


def _within(seconds: float, ask: Callable[[], object]) -> None:
    """Let ``ask`` try for so long: the store is process 0's, and may fail or hang with it."""

    def try_it() -> None:
        with contextlib.suppress(Exception):
            ask()

    thread = threading.Thread(target=try_it, daemon=True)
    thread.start()
    thread.join(seconds)


def _roll_call(store: dist.Store, world: World, said: dict[int, str]) -> None:
    """Say that this process is well, and gather what the others say who do so soon; those that are well say nothing."""
    store.set(_key(world.rank), "")
    deadline = time.monotonic() + ROLL_CALL
    while len(said) < world.size and time.monotonic() < deadline:
        for rank in set(range(world.size)) - said.keys():
            if store.check([_key(rank)]):
                said[rank] = store.get(_key(rank)).decode(errors="replace")
        time.sleep(0.1)
    if world.is_main:
        time.sleep(1)  # the store is this process's, and the others may still be reading


def _blame(world: World, said: dict[int, str], silence: str) -> str:
    """Return who failed, and who says nothing; where nobody keeps the store any more, that is process 0."""
    failed = [f"process {rank} failed: {what}" for rank, what in sorted(said.items()) if what]
    silent = [rank for rank in range(world.size) if rank not in said] if said else [0]
    if silent:
        names = ", ".join(map(str, silent))
        who = f"process {names} of {world.size}" if len(silent) == 1 else f"one of the processes {names}"
        failed.append(f"{who} {silence}")
    return "; ".join(failed) or "the connection between the processes failed, though all of them still answer"
