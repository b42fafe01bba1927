"""A DALI pipeline that decodes and augments batches which it is fed, and outlives images that it cannot decode."""

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from openmix.data.dali.encoded import EncodedBatch, Request
from openmix.data.dali.stages import RandomResizedCrop, Stage
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
    """Turns encoded batches into images.

    Args:
        stages: what is done to the images, in order.
        batch_size: the largest batch.
        num_threads: CPU threads.
        prefetch: batches that are worked on ahead of the one that is asked for.
        device: where the images are wanted; on a GPU, DALI decodes there.
        refetch: reads a batch again, with every image decoded.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        batch_size: int,
        num_threads: int,
        prefetch: int,
        device: torch.device,
        refetch: Callable[[Request], EncodedBatch],
    ) -> None:
        self.stages = tuple(stages)
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

    def run(self, batches: Iterable[EncodedBatch]) -> Iterator[tuple[EncodedBatch, Tensor]]:
        """Yield each batch with its images, uint8 (B, 3, H, W) in channels-last memory.

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

    def _alone(self, batch: EncodedBatch) -> tuple[EncodedBatch, Tensor]:
        """Return one batch with its images; what DALI cannot decode is decoded by us."""
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

    def _stream(self, feed: "_Feed") -> Iterator[tuple[EncodedBatch, Tensor]]:
        """Yield the batches of a feed with their images, from where it is to its end."""
        pipeline, inlet = self._idle or self._build()
        self._idle = None
        inlet.feed = feed
        pipeline.schedule_run()
        while True:
            if self._closed:
                raise _ClosedError("this loader is closed")
            try:
                (images,) = pipeline.share_outputs()
            except StopIteration:
                break
            pixels = pixels_of(images)
            pipeline.release_outputs()
            pipeline.schedule_run()
            yield feed.given.popleft(), pixels
        pipeline.reset()
        self._idle = pipeline, inlet  # what went through to its end is used again, as building takes up to a second

    def _build(self) -> tuple[Any, "_Inlet"]:
        """Return a pipeline and what it is fed through."""
        from nvidia.dali import fn, pipeline_def  # pyright: ignore[reportPrivateImportUsage]

        conditional = any(stage.conditional for stage in self.stages)
        dimensions = [1, *(n for stage in self.stages for n in stage.inputs)]
        inlet = _Inlet()

        @pipeline_def(enable_conditionals=conditional)
        def graph() -> Any:
            nodes = fn.external_source(source=inlet, num_outputs=len(dimensions), batch=True, ndim=dimensions)
            return self._graph(nodes)

        pipeline: Any = graph(**self.options)
        pipeline.build()
        return pipeline, inlet

    def _graph(self, nodes: Sequence[Any]) -> Any:
        """Return the node of the finished images, given those of the inputs.

        DALI rewrites this function where a stage is conditional, and does not know assignment expressions.
        """
        from nvidia.dali import fn

        on_gpu = self.device.type == "cuda"
        images, inputs, stages = nodes[0], list(nodes[1:]), self.stages
        device = "mixed" if on_gpu else "cpu"
        if stages and isinstance(stages[0], RandomResizedCrop):
            count = len(stages[0].inputs)
            images = stages[0].decode(images, inputs[:count], device)
            inputs, stages = inputs[count:], stages[1:]
        else:
            images = fn.decoders.image(images, device=device, adjust_orientation=False)
        for stage in stages:
            count = len(stage.inputs)
            images = stage.graph(images, inputs[:count])
            inputs = inputs[count:]
        return images


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
