"""ImageNet and Tiny-ImageNet from their folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from openmix.data.sources.files import FileSource, PathList
from openmix.data.sources.folder import ImageFolder, class_folders, list_by_class, walk_images
from openmix.errors import UserError

__all__ = ["ImageNet", "TinyImageNet"]

Split = Literal["train", "val"]


class ImageNet(ImageFolder):
    """ImageNet-1k (ILSVRC 2012): 1,281,167 training and 50,000 validation images in 1,000 classes.

    Reads ``train/n01440764/*.JPEG`` and ``val/n01440764/*.JPEG``; the classes are the folders' names, the synsets' ids.
    Folders may hold any number of images, and images of any size: a copy made by ``openmix resize`` is read alike.

    Args:
        data_root: the folder that holds ``train`` and ``val``.
        split: ``'train'`` or ``'val'``.

    Raises:
        UserError: a folder is missing, or there are not 1,000 class folders.
    """

    num_classes: int = 1000

    def __init__(self, data_root: str = "data/imagenet", split: Split = "train") -> None:
        super().__init__(data_root, split, self.num_classes)

    @classmethod
    def layout_hint(cls) -> str:
        """Return how the files should lie, for an error message."""
        return (
            "ImageNet has to be fetched by hand, from image-net.org, and unpacked as train/n01440764/*.JPEG and "
            "val/n01440764/*.JPEG (torchvision.datasets.ImageNet does that with the official archives, whose "
            "validation images are not sorted into classes); openmix resize SRC DST --size 160 352 writes the smaller "
            "copies that some recipes want"
        )

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run."""
        del options  # the same for every split
        return cls.num_classes, cls.typical_shape


class TinyImageNet(FileSource):
    """Tiny-ImageNet (Stanford's CS231n): 100,000 training and 10,000 validation images of 64 x 64 in 200 classes.

    Reads ``train/n01443537/images/*.JPEG``, and the validation images as the archive has them, all in ``val/images``
    with their classes in ``val/val_annotations.txt``; or sorted into ``val/n01443537`` or ``val/images/n01443537``, as
    many scripts leave them. Read as one folder a class, the archive's ``val`` would be a single class; that is how
    published code came to validate at the level of chance. The labels are the sorted synset ids in every case.

    Args:
        data_root: the folder that holds ``train`` and ``val``.
        split: ``'train'`` or ``'val'``.

    Raises:
        UserError: a folder is missing, the classes are not 200, or the validation images not those of the list.
    """

    num_classes: int = 200
    image_shape: ClassVar[tuple[int, int, int]] = (3, 64, 64)

    def __init__(self, data_root: str = "data/tiny-imagenet-200", split: Split = "train") -> None:
        folder = Path(data_root) / split
        if not folder.is_dir():
            raise UserError(
                f"TinyImageNet: there is no folder {folder}; unpack tiny-imagenet-200.zip (cs231n.stanford.edu) and "
                "give its folder as data_root"
            )
        super().__init__(*self._list_sorted(folder) or self._list_annotated(folder))

    @classmethod
    def layout(cls, options: Mapping[str, Any]) -> tuple[int, tuple[int, int, int]]:
        """Return ``(num_classes, image_shape)`` for a dry run."""
        del options  # the same for every split
        return cls.num_classes, cls.image_shape

    def _list_sorted(self, folder: Path) -> tuple[PathList, Tensor, list[str]] | None:
        """Return the images that lie in a folder of their class, if they do."""
        for place in (folder, folder / "images"):
            classes = [name for name in class_folders(place) if name != "images"] if place.is_dir() else []
            if len(classes) == self.num_classes:
                return *list_by_class(place, classes), classes
        return None

    def _list_annotated(self, folder: Path) -> tuple[PathList, Tensor, list[str]]:
        """Return the validation images by their list."""
        path = folder / "val_annotations.txt"
        if not path.is_file():
            raise UserError(
                f"TinyImageNet: {folder} holds {len(class_folders(folder))} folders where there should be one for each "
                f"of {self.num_classes} classes, or for val its images and val_annotations.txt as in the archive"
            )
        try:
            rows = [line.split("\t")[:2] for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read: it is damaged, or no text ({error})") from None
        class_of = dict(row for row in rows if len(row) == 2)
        classes = sorted(set(class_of.values()))
        if len(classes) != self.num_classes:
            raise UserError(f"{path} names {len(classes)} classes, not {self.num_classes}: it is damaged, or another's")
        images = folder / "images"
        names = dict(walk_images(images))[""] if images.is_dir() else []
        if not names:
            raise UserError(f"TinyImageNet: {images} holds none of the images that {path.name} lists")
        unlisted = [name for name in names if name not in class_of]
        if unlisted:
            raise UserError(f"{path} lists no class for {unlisted[0]} ({len(unlisted)} of {len(names)} images)")
        missing = sorted(class_of.keys() - set(names))
        if missing:
            raise UserError(f"{images} lacks {missing[0]} ({len(missing)} of {len(class_of)} that {path.name} lists)")
        label_of = {name: label for label, name in enumerate(classes)}
        labels = torch.tensor([label_of[class_of[name]] for name in names])
        return PathList(str(images), names), labels, classes
