"""CIFAR-10 and CIFAR-100 from the files of the official python archives."""

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from openmix.data.sources.array import ArraySource
from openmix.data.sources.pickles import read_plain_pickle
from openmix.errors import UserError

__all__ = ["CIFAR10", "CIFAR100"]

Split = Literal["train", "test"]


class _CIFAR(ArraySource):
    """What the two sets share: 32 x 32 RGB images as rows of 3,072 bytes, all red ones first, in pickled dictionaries.

    The files' MD5 sums are not asked for, because a copy that was packed anew (by Python 3, say) is as good; instead
    the content is checked: the keys, uint8 rows of 3,072, one label a row, labels in range, a name for each class.
    """

    image_shape: tuple[int, int, int] = (3, 32, 32)
    folder: ClassVar[str]
    files: ClassVar[dict[str, tuple[str, ...]]]  # by split
    label_key: ClassVar[str]
    meta_file: ClassVar[str]
    names_key: ClassVar[str]

    def __init__(self, data_root: str, split: Split, download: bool) -> None:
        if split not in get_args(Split):
            raise UserError(f"{type(self).__name__} has the splits train and test, not {split!r}")
        folder = self._find(Path(data_root), download)
        classes = self._read_classes(folder / self.meta_file)
        parts = [self._read_batch(folder / name) for name in self.files[split]]
        images = torch.from_numpy(np.concatenate([pixels for pixels, _ in parts])).view(-1, *self.image_shape)
        super().__init__(images, torch.cat([labels for _, labels in parts]), classes)

    def _find(self, root: Path, download: bool) -> Path:
        """Return the folder that holds the files, downloading it where that is wanted and it is missing."""
        name = type(self).__name__
        if root.name == self.folder and root.is_dir():
            return root
        if not (root / self.folder).is_dir() and (root / self.meta_file).is_file():
            return root  # the inner folder under another name
        if not (root / self.folder).is_dir():
            if not download:
                raise UserError(
                    f"{name} was not found: there is no folder {root / self.folder}. Set download=True in the dataset "
                    f"config, or run: python -c \"import torchvision; torchvision.datasets.{name}('{root}', "
                    'download=True)"'
                )
            _download(name, root)
        return root / self.folder

    def _read_classes(self, path: Path) -> list[str]:
        """Return the class names in label order."""
        expected = f"a pickled dictionary with {self.num_classes} {self.names_key!r}"
        names = read_plain_pickle(path, expected).get(self.names_key)
        if not isinstance(names, list) or len(names) != self.num_classes:
            raise UserError(f"{path} ({path.stat().st_size:,} bytes) lists no class names: expected {expected}")
        return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]

    def _read_batch(self, path: Path) -> tuple[np.ndarray, Tensor]:
        """Return one file's pixels, uint8 (n, 3072), and labels, int64 (n,)."""
        expected = (
            f"a pickled dictionary with 'data', uint8 (n, 3072), and {self.label_key!r}, n integers in "
            f"0..{self.num_classes - 1}, 3,073 bytes an image"
        )
        content = read_plain_pickle(path, expected)
        data, labels = content.get("data"), _integers(content.get(self.label_key))
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
            found = f"'data' is {data.dtype} {data.shape}" if isinstance(data, np.ndarray) else "it has no array 'data'"
        elif labels is None:
            found = f"it has no integers {self.label_key!r}"
        elif len(labels) != len(data):
            found = f"it has {len(data)} images and {len(labels)} labels"
        elif len(labels) and not 0 <= labels.min() <= labels.max() < self.num_classes:
            found = f"its labels span {labels.min()}..{labels.max()}"
        else:
            return data, torch.from_numpy(labels)
        raise UserError(
            f"{path} ({path.stat().st_size:,} bytes) is not a batch of {self.folder}: {found}; expected {expected}"
        )


class CIFAR10(_CIFAR):
    """CIFAR-10 (Krizhevsky 2009): 50,000 training and 10,000 test images of 32 x 32 in 10 classes.

    Reads ``cifar-10-batches-py/`` with ``data_batch_1`` to ``data_batch_5``, ``test_batch`` and ``batches.meta``. Files
    may hold fewer or more images than the official 10,000 each, as long as they agree with themselves.

    Args:
        data_root: the folder that holds ``cifar-10-batches-py``, or that folder itself.
        split: ``'train'`` or ``'test'``.
        download: fetch the archive with torchvision where the folder is missing. Several processes would all fetch it:
            download once, before they start.

    Raises:
        UserError: the folder or a file is missing, damaged, or not plain data; or the download failed.
    """

    num_classes: int = 10
    folder = "cifar-10-batches-py"
    files: ClassVar = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
    label_key = "labels"
    meta_file = "batches.meta"
    names_key = "label_names"

    def __init__(self, data_root: str = "data/cifar10", split: Split = "train", download: bool = False) -> None:
        super().__init__(data_root, split, download)


class CIFAR100(_CIFAR):
    """CIFAR-100 (Krizhevsky 2009) with its 100 fine labels: 50,000 training and 10,000 test images of 32 x 32.

    Reads ``cifar-100-python/`` with ``train``, ``test`` and ``meta``; the files may hold any number of images.

    Args:
        data_root: the folder that holds ``cifar-100-python``, or that folder itself.
        split: ``'train'`` or ``'test'``.
        download: as for :class:`CIFAR10`.

    Raises:
        UserError: as for :class:`CIFAR10`.
    """

    num_classes: int = 100
    folder = "cifar-100-python"
    files: ClassVar = {"train": ("train",), "test": ("test",)}
    label_key = "fine_labels"
    meta_file = "meta"
    names_key = "fine_label_names"

    def __init__(self, data_root: str = "data/cifar100", split: Split = "train", download: bool = False) -> None:
        super().__init__(data_root, split, download)


def _integers(value: Any) -> np.ndarray | None:
    """Return a list or an array of integers as int64 (n,), None for anything else."""
    if not isinstance(value, (list, np.ndarray)) or not all(isinstance(item, (int, np.integer)) for item in value):
        return None
    try:
        return np.array(value, dtype=np.int64)
    except OverflowError:
        return None


def _download(name: str, root: Path) -> None:
    """Download and unpack the official archive with torchvision, which checks its MD5 sum."""
    import torchvision.datasets  # seconds of import that only a download pays

    try:
        getattr(torchvision.datasets, name)(str(root), download=True)
    except Exception as error:  # no network, no space, a broken archive: all mean the same to the user
        raise UserError(
            f"downloading {name} to {root} failed ({type(error).__name__}: {error}); fetch it elsewhere and put its "
            "folder there"
        ) from error
