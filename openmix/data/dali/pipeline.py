"""A DALI pipeline that decodes and augments batches which it is fed, and outlives images that it cannot decode."""

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from openmix.data.dali.branches import Branches
from openmix.data.dali.encoded import EncodedBatch, Request
from openmix.errors import UserError

__all__ = ["DaliPipeline", "import_dali", "pixels_of"]


def import_dali() -> None:
    """Import DALI.

    Raises:
        UserError: it is not installed.
    """
    try:
        import nvidia.dali  # noqa: F401
    except ImportError as error:
        raise UserError(
            "DaliLoader needs NVIDIA DALI: install openmix[dali-cuda130], or dali-cuda120, dali-cuda110, whichever "
            f"CUDA the driver has; any of them works on CPUs ({error})"
        ) from error


class DaliPipeline:
    """Turns encoded batches into views of their images.

    Args:
        stages: what is done to the images.
        batch_size: the largest batch.
        num_threads: CPU threads.
        prefetch: batches that are worked on ahead of the one that is asked for.
        device: where the images are wanted; on a GPU, DALI decodes there.
        refetch: reads a batch again, with every image decoded.
    """

    def __init__(
        self,
        stages: Branches,
        batch_size: int,
        num_threads: int,
        prefetch: int,
        device: torch.device,
        refetch: Callable[[Request], EncodedBatch],
    ) -> None:
        self.stages = stages
        self.refetch = refetch
        self.device = device
        self.options: dict[str, Any] = {
            "batch_size": batch_size,
            "num_threads": num_threads,
            "prefetch_queue_depth": prefetch,
            "device_id": (device.index or 0) if device.type == "cuda" else None,
            "seed": 0,  # nothing is drawn
        }
        self._idle: tuple[Any, _Inlet] | None = None
        self._closed = False

    def close(self) -> None:
        """Let DALI go. Closing twice is allowed."""
        self._closed, self._idle = True, None

    def run(self, batches: Iterable[EncodedBatch]) -> Iterator[tuple[EncodedBatch, tuple[Tensor, ...]]]:
        """Yield each batch with the views of its images, uint8 (B, 3, H, W) each, in channels-last memory.

        One image that DALI does not decode ends DALI's pipeline. As a batch depends on nothing that came before it,
        another pipeline goes on from there; the batch in question is read anew and decoded by us, so that what is
        damaged is found and replaced.
        """
        feed = _Feed(batches)
        while True:
            try:
                yield from self._stream(feed)
            except _ClosedError:
                raise
            except RuntimeError as error:  # DALI's: what goes wrong in reading is kept by the feed
                if not feed.given:  # nor is it an image's fault
                    raise UserError(f"DALI cannot build this pipeline: {_reason(error)}") from error
                gc.collect()  # a pipeline is in a ring of references, and its threads live as long as it
                while feed.given:
                    yield self._alone(feed.given.popleft())
            else:
                break
        if feed.error is not None:
            raise feed.error

    def _alone(self, batch: EncodedBatch) -> tuple[EncodedBatch, tuple[Tensor, ...]]:
        """Return one batch with its views; what DALI cannot decode is decoded by us."""
        try:
            (only,) = self._stream(_Feed([batch]))  # to its end, so that the pipeline is used again
            return only
        except _ClosedError:
            raise
        except RuntimeError:
            decoded = self.refetch(batch.request._replace(decoded=True))
        try:
            (only,) = self._stream(_Feed([decoded]))
            return only
        except _ClosedError:
            raise
        except RuntimeError as error:
            raise UserError(f"DALI fails in this pipeline: {_reason(error)}") from error

    def _stream(self, feed: "_Feed") -> Iterator[tuple[EncodedBatch, tuple[Tensor, ...]]]:
        """Yield the batches of a feed with their views, from where it is to its end."""
        pipeline, inlet = self._idle or self._build()
        self._idle = None
        inlet.feed = feed
        pipeline.schedule_run()
        while True:
            if self._closed:
                raise _ClosedError("this loader is closed")
            try:
                outputs = pipeline.share_outputs()
            except StopIteration:
                break
            views = tuple(map(pixels_of, outputs))
            pipeline.release_outputs()
            pipeline.schedule_run()
            yield feed.given.popleft(), views
        pipeline.reset()
        self._idle = pipeline, inlet  # what went through to its end is used again, as building takes up to a second

    def _build(self) -> tuple[Any, "_Inlet"]:
        """Return a pipeline and what it is fed through."""
        from nvidia.dali import fn, pipeline_def  # pyright: ignore[reportPrivateImportUsage]

        device = "mixed" if self.device.type == "cuda" else "cpu"
        dimensions = [1, *self.stages.inputs]
        inlet = _Inlet()

        @pipeline_def(enable_conditionals=self.stages.conditional)
        def graph() -> Any:
            nodes = fn.external_source(source=inlet, num_outputs=len(dimensions), batch=True, ndim=dimensions)
            return self.stages.graph(nodes[0], nodes[1:], device)

        pipeline: Any = graph(**self.options)
        pipeline.build()
        return pipeline, inlet


def pixels_of(images: Any) -> Tensor:
    """Return DALI's output of images, uint8 (B, H, W, 3), as a tensor (B, 3, H, W) in channels-last memory of its own.

    A copy, as DALI writes its next batches into the same memory.
    """
    return torch.from_dlpack(images.as_tensor()).permute(0, 3, 1, 2).clone()


class _ClosedError(RuntimeError):
    """Batches were asked of a closed loader."""


class _Feed:
    """Gives DALI one batch after the other, and keeps an error until DALI has returned those before it.

    Args:
        batches: what to give.

    Attributes:
        given: the batches that DALI has been given and has not returned, oldest first.
        error: what ended the batches before their end.
    """

    def __init__(self, batches: Iterable[EncodedBatch]) -> None:
        self._batches = iter(batches)
        self.given: deque[EncodedBatch] = deque()
        self.error: BaseException | None = None

    def __call__(self) -> list[Any]:
        """Return the next batch's inputs; StopIteration is DALI's sign of the end."""
        if self.error is not None:
            raise StopIteration
        try:
            batch = next(self._batches)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise StopIteration from None
        self.given.append(batch)
        return batch.feed()


class _Inlet:
    """Where a pipeline is fed, by one feed after the other."""

    feed: _Feed

    def __call__(self) -> list[Any]:
        """Return the next batch's inputs."""
        return self.feed()


def _reason(error: RuntimeError) -> str:
    """Return what DALI says is wrong, without where."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    after = [i for i, line in enumerate(lines) if line == "encountered:"]
    return lines[after[-1] + 1] if after and after[-1] + 1 < len(lines) else lines[0]
