"""Worker processes that answer requests in order: torch's DataLoader, asked for batches rather than samples."""

import gc
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader

from openmix.data.loaders.passing import pass_small_in_messages
from openmix.data.loaders.signals import heed_parent_only, sigterm_blocked
from openmix.errors import Reported, UserError

__all__ = ["Fetcher", "Workers"]

# seconds within which a worker must answer one request; who takes longer waits for a file system that is gone
PATIENCE = 600


class Fetcher(Protocol):
    """Answers requests, in whichever process it is asked, without anything carried from one to the next."""

    def __getitems__(self, request: Any, /) -> Any:
        """Return the answer to a request, or a UserError for the main process to raise.

        Raised in a worker, torch would put the worker's traceback into its message.
        """
        ...


class Workers:
    """Has requests answered by a fetcher, in worker processes or in this one.

    Workers start at once, one torch thread each, and live until :meth:`close`. At once, and not at the first request,
    because forking is safe before other threads compute: Python 3.11 may hang in a child that is forked while one of
    autograd's begins. One iteration runs at a time: starting another ends the one before.

    Args:
        fetcher: answers them.
        num_workers: worker processes; 0 answers in this one.
        pin_memory: whether answers are copied to page-locked memory, by their ``pin_memory()``.

    Raises:
        UserError: ``num_workers`` below 0.
    """

    def __init__(self, fetcher: Fetcher, num_workers: int, pin_memory: bool = False) -> None:
        if num_workers < 0:
            raise UserError(f"num_workers must be at least 0, not {num_workers}")
        pass_small_in_messages()
        self._requests = _Requests()
        self._loader: DataLoader | None = DataLoader(
            fetcher,  # pyright: ignore[reportArgumentType]  (fetches by __getitems__)
            batch_sampler=self._requests,  # pyright: ignore[reportArgumentType]  (its "indices" are requests)
            num_workers=num_workers,
            collate_fn=_as_it_is,
            pin_memory=pin_memory,
            timeout=PATIENCE if num_workers else 0,
            generator=torch.Generator(),  # for a seed that nothing uses; the global one would be advanced otherwise
            persistent_workers=num_workers > 0,
            worker_init_fn=heed_parent_only,
            # Forked workers start at once and share the data set's memory; they use no GPU and one thread.
            multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
        )
        self._running: Iterator[Any] | None = None
        if num_workers:
            with warnings.catch_warnings(), sigterm_blocked(), _frozen():
                # Python >= 3.12 warns of any fork beside threads; torch's own threads are never used by the workers.
                warnings.filterwarnings("ignore", "This process .* is multi-threaded, use of fork", DeprecationWarning)
                self._running = iter(self._loader)  # starts them, with nothing to do yet

    def close(self) -> None:
        """Stop the workers. Closing twice is allowed."""
        self._loader = self._running = None

    def answer(self, requests: Sequence[Any]) -> Iterator[Any]:
        """Yield the answers to these requests, in order.

        Raises:
            RuntimeError: the workers were stopped, or another iteration was started since.
            UserError: the fetcher's.
            Reported: a worker hangs or has died.
        """
        if not requests:
            return
        if self._loader is None:
            raise RuntimeError("this loader is closed")
        self._requests.current = requests
        self._running = iter(self._loader)
        for _ in requests:
            if self._running is None or self._requests.current is not requests:
                raise RuntimeError("this iteration is over: the loader was closed, or another one was started")
            try:
                answer = next(self._running)
            except RuntimeError as error:
                if not str(error).startswith("DataLoader"):  # of the fetcher
                    raise
                raise Reported(
                    f"{error} (a process that reads images: no memory left? a file system hangs?)"
                ) from error
            if isinstance(answer, UserError):
                raise answer
            yield answer


class _Requests:
    """The batch sampler: hands out the requests of the current iteration."""

    def __init__(self) -> None:
        self.current: Sequence[Any] = []

    def __iter__(self) -> Iterator[Any]:
        return iter(self.current)

    def __len__(self) -> int:
        return len(self.current)


@contextmanager
def _frozen() -> Iterator[None]:
    """Keep garbage that was not collected before the fork from being collected in the children.

    It may own what is the parent's alone: DALI's pipelines end their threads, which a child does not have.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()  # here; in the children it stays. It counts as old now, and will seldom be collected.


def _as_it_is(answer: Any) -> Any:
    """Collate what is a batch already."""
    return answer
