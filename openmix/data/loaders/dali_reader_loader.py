"""The loader on DALI's own readers: DALI reads, shuffles and draws, and guarantees less."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from openmix.data.batch import Batch
from openmix.data.dali.counterparts import counterparts
from openmix.data.dali.pipeline import import_dali, pixels_of
from openmix.data.dali.reader_graphs import CropAndFlip, ReaderGraph, ReaderViews
from openmix.data.loaders.protocol import BaseLoader, split_views
from openmix.data.order import Shards
from openmix.data.sources.files import FileSource
from openmix.data.sources.protocol import Source
from openmix.data.sources.recordio import RecordIO
from openmix.errors import UserError
from openmix.ops.random import derive_seed, generator_for

__all__ = ["DaliReaderLoader"]


class DaliReaderLoader(BaseLoader):
    """Train on DALI's readers, ``fn.readers.mxnet`` for RecordIO and ``fn.readers.file`` for files.

    For those who want no Python at all between the disk and the image; :class:`~openmix.data.loaders.DaliLoader` is the
    one to use else. What holds here is less:

    - An epoch still shows every image once at most, and equal seeds give equal epochs. But the order is a shuffled
      window of ``shuffle_window`` images over the stored order, so a file that was packed in the order of its classes
      gives batches of few classes; pack it shuffled.
    - A process has the same part of the file in every epoch. So another number of processes sees other batches, and 2
      processes are not what 1 is that accumulates 2.
    - A resumed run sees the same images, but has to read all of the epoch before.
    - A damaged image ends the run.
    - Which image of the set a record was, DALI does not tell: ``index`` is -1.

    Args:
        dataset: ``RecordIO`` of one file with an index, or a set of files.
        batch_size: images of one micro-batch.
        pipeline: ``RandomResizedCrop``, and perhaps ``RandomHorizontalFlip``; DALI draws for them. Or ``Views`` alone,
            each beginning with ``RandomResizedCrop``, ``ScaleMix`` or ``CropMixPair``: DALI draws the crops, and what
            :class:`~openmix.data.loaders.DaliLoader` has counterparts of may follow, drawn as there.
        num_threads: DALI's CPU threads.
        shuffle_window: images from which the next one is drawn. Default 1024, DALI's.
        seed: of the order and of the draws.
        shards: this process's place among all.
        device: where the images are made; decoding is on the GPU where this is one.

    Raises:
        UserError: DALI is not installed, the set or the pipeline is another, a number is too small.
    """

    def __init__(
        self,
        dataset: Source,
        batch_size: int,
        *,
        pipeline: Sequence[Callable[..., Any]] = (),
        num_threads: int = 2,
        shuffle_window: int = 1024,
        seed: int = 0,
        shards: Shards = Shards(),  # noqa: B008  (frozen)
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dataset, batch_size, seed, shards, device)
        if min(num_threads, shuffle_window) < 1:
            raise UserError(f"num_threads and shuffle_window must be at least 1, not {num_threads}, {shuffle_window}")
        self.stages = _stages(pipeline)
        self.reader = _reader(dataset)
        self.num_threads, self.shuffle_window = num_threads, shuffle_window
        import_dali()

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield ``(shard, micro-batch)`` of a training epoch; what is before ``start_step`` is read and dropped."""
        pipeline = self._build(epoch)
        for step in range(self.steps_per_epoch):
            for shard in self.shards.own():
                try:
                    *views, labels = pipeline.run()
                except RuntimeError as error:
                    raise UserError(
                        f"DALI cannot read an image of {self.reader[0]}; DaliLoader replaces what is damaged, and "
                        f"'openmix data verify' finds it: {str(error).splitlines()[0]}"
                    ) from error
                if step >= start_step:
                    yield shard, self._batch(views, labels)

    def indices(self, epoch: int, step: int) -> list[torch.Tensor]:
        """Return nothing: DALI does not tell."""
        return []

    def evaluate(self) -> Iterator[Batch]:
        """Refuse: an evaluation must see every image, and know which it is.

        Raises:
            UserError: always.
        """
        raise UserError("DaliReaderLoader is for train_dataloader; validate with DaliLoader or TorchLoader")

    def close(self) -> None:
        """Do nothing: a pipeline ends with its epoch."""

    def _batch(self, views: Sequence[Any], labels: Any) -> Batch:
        pixels = tuple(map(pixels_of, views))
        classes = torch.from_dlpack(labels.as_tensor()).reshape(len(pixels[0])).long()
        return Batch(pixels, classes, torch.full_like(classes, -1))

    def _build(self, epoch: int) -> Any:
        """Return a pipeline at the beginning of this process's part of the set."""
        from nvidia.dali import fn, pipeline_def  # pyright: ignore[reportPrivateImportUsage]

        on_gpu = self.device.type == "cuda"
        reader, arguments = getattr(fn.readers, self.reader[1]), self.reader[2]

        shards = self.shards.own()

        def draw(iteration: int) -> list[np.ndarray]:
            step, micro_batch = divmod(iteration, len(shards))
            generator = generator_for(self.seed, "augment", epoch, step, shards[micro_batch])
            return [tensor.numpy() for tensor in self.stages.draw(self.batch_size, generator)]

        @pipeline_def(enable_conditionals=self.stages.conditional)
        def graph() -> Any:
            encoded, labels = reader(
                **arguments, name="reader", random_shuffle=True, initial_fill=self.shuffle_window,
                shard_id=self.shards.rank, num_shards=self.shards.world_size, stick_to_shard=True, pad_last_batch=True,
            )  # fmt: skip
            dimensions, nodes = list(self.stages.inputs), []
            if dimensions:
                nodes = fn.external_source(source=draw, num_outputs=len(dimensions), batch=True, ndim=dimensions)
            return *self.stages.graph(encoded, nodes, "mixed" if on_gpu else "cpu"), labels

        pipeline: Any = graph(
            batch_size=self.batch_size, num_threads=self.num_threads,
            seed=derive_seed(self.seed, "dali", epoch, self.shards.rank) % 2**31,
            device_id=(self.device.index or 0) if on_gpu else None,
        )  # fmt: skip
        pipeline.build()
        return pipeline


def _reader(dataset: Source) -> tuple[str, str, dict[str, Any]]:
    """Return what a set is called, the name of DALI's reader for it, and the reader's arguments."""
    if isinstance(dataset, RecordIO):
        if len(dataset.files) != 1 or dataset.files[0].index is None:
            raise UserError(
                "DaliReaderLoader takes RecordIO of one file with its .idx beside it ('openmix rec index' writes it); "
                "DaliLoader takes any"
            )
        file = dataset.files[0]
        if len(file) != len(dataset):
            raise UserError(f"DaliReaderLoader would read the metadata of {file.path} as images; use DaliLoader")
        return str(file.path), "mxnet", {"path": [str(file.path)], "index_path": [str(file.index)]}
    if isinstance(dataset, FileSource):
        files = [dataset.paths[i] for i in range(len(dataset))]
        return dataset.paths.folder, "file", {"files": files, "labels": dataset.labels.tolist()}
    raise UserError(f"DaliReaderLoader reads RecordIO or files, not {type(dataset).__name__}")


def _stages(pipeline: Sequence[Callable[..., Any]]) -> ReaderGraph:
    """Return what DALI is to do for a pipeline."""
    shared, views = split_views(pipeline)
    if not any(views):
        return CropAndFlip(shared)
    if shared:
        raise UserError("DaliReaderLoader takes Views alone, nothing before it; DaliLoader takes more")
    return ReaderViews([counterparts(view) for view in views])
