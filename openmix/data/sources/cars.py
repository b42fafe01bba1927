"""Stanford Cars from its devkit, or from one folder a class."""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from openmix.data.sources.files import FileSource
from openmix.data.sources.folder import class_folders, list_by_class
from openmix.data.sources.listed import ListedSource, find_root
from openmix.errors import UserError

__all__ = ["StanfordCars"]

HINT = (
    "Stanford Cars is read from cars_train/, cars_test/, devkit/cars_meta.mat, devkit/cars_train_annos.mat and "
    "cars_test_annos_withlabels.mat (beside devkit or in it), or from train/CLASS/*.jpg and test/CLASS/*.jpg"
)


class StanfordCars(ListedSource):
    """Stanford Cars (Krause et al. 2013): 8,144 training and 8,041 test images in 196 classes.

    Reads the official layout, ``cars_train/``, ``cars_test/`` and the devkit's .mat files, with the labels' numbers
    less 1 in the annotations' order, as torchvision does; or, since the official site is gone, the copy that most have,
    one folder a class in ``train`` and ``test``, whose labels are the sorted folders' names. The two orders
    need not be the same, so a network that was trained on the one must be tested on it.

    Args:
        data_root: the folder that holds all that, or one that holds it as ``stanford_cars`` or ``car_data``.
        split: ``'train'`` or ``'test'``.

    Raises:
        UserError: neither layout is there, or a file is missing or damaged.
    """

    num_classes: int = 196

    def __init__(self, data_root: str = "data/stanford_cars", split: Literal["train", "test"] = "train") -> None:
        if split not in ("train", "test"):
            raise UserError(f"StanfordCars has the splits train and test, not {split!r}")
        root = Path(data_root)
        for folder in (root, root / "car_data", root / "car_data" / "car_data", root / "stanford_cars"):
            if not (folder / "devkit").is_dir() and (classes := _folders(folder / split)):
                FileSource.__init__(self, *list_by_class(folder / split, classes), classes)
                return
        root = find_root("StanfordCars", data_root, ["stanford_cars"], "devkit", HINT)
        super().__init__(root / f"cars_{split}", *_annotations(root, split), _class_names(root / "devkit"))


def _folders(folder: Path) -> list[str]:
    return class_folders(folder) if folder.is_dir() else []


def _annotations(root: Path, split: str) -> tuple[list[str], list[int]]:
    """Return the images' names and labels."""
    name = "cars_train_annos.mat" if split == "train" else "cars_test_annos_withlabels.mat"
    places = [root / "devkit" / name, root / name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise UserError(f"StanfordCars: there is no {name} in {root} or its devkit; {HINT}")
    rows = np.atleast_1d(_read(path, "annotations"))
    fields = rows.dtype.names or ()
    if not {"fname", "class"} <= set(fields):
        raise UserError(f"{path}: its annotations lack fname or class (cars_test_annos.mat, without labels, is no use)")
    return [str(row["fname"]) for row in rows], [int(row["class"]) - 1 for row in rows]


def _class_names(devkit: Path) -> list[str]:
    return [str(name) for name in np.atleast_1d(_read(devkit / "cars_meta.mat", "class_names"))]


def _read(path: Path, key: str) -> Any:
    """Return one variable of a .mat file.

    Raises:
        UserError: the file is missing or damaged, or lacks it.
    """
    import scipy.io  # half a second that only this set pays

    try:
        return scipy.io.loadmat(path, squeeze_me=True)[key]
    except FileNotFoundError:
        raise UserError(f"StanfordCars: there is no {path}; {HINT}") from None
    except Exception as error:  # a damaged file may raise anything
        raise UserError(f"{path} is damaged, or no .mat file with {key!r} ({type(error).__name__}: {error})") from None
