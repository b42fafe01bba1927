"""How OpenMixup's ``data`` becomes openmix's loaders and their normalisation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from openmix.convert.pipeline import Normalization, convert_pipeline, read_normalization
from openmix.convert.report import Section

__all__ = ["Evaluation", "convert_data"]

CIFAR = ("CIFAR10", "CIFAR100")
LISTS = ("ImageNet", "ImageList", "TinyImageNet", "CUB200", "Aircrafts", "Cars")
RESIDENT = {"RandomCrop", "RandomHorizontalFlip", "Cutout"}  # what ResidentLoader does a batch at a time
PREFETCH = "images are uint8 until they are on the device, always"


@dataclass(frozen=True)
class Evaluation:
    """What a validation hook says.

    Attributes:
        batch_size: of the validation, None where it does not say.
        num_workers: likewise.
        interval: what ``train_cfg.val_interval`` is to be, None for the default.
    """

    batch_size: int | None = None
    num_workers: int | None = None
    interval: int | None = None


def convert_data(top: Section, evaluation: Evaluation, num_classes: int) -> dict[str, Any]:
    """Return ``data_preprocessor``, ``train_dataloader``, ``val_dataloader`` and perhaps ``test_dataloader``.

    Args:
        top: the whole old config.
        evaluation: of it.
        num_classes: of its head.
    """
    data = top.section("data")
    batch_size = num_workers = None
    for key in ("imgs_per_gpu", "samples_per_gpu"):
        batch_size = data.renamed(key, "train_dataloader.batch_size, of each process as before", default=batch_size)
    num_workers = data.renamed("workers_per_gpu", "train_dataloader.num_workers", default=0)
    data.benign({"sampling_replace": (False, "every image comes once an epoch")})
    if not data.get("drop_last", False):
        verdict = "an epoch's last step is dropped where it is not full"
        data.report.add("data.drop_last", "changed", f"{verdict}, as drop_last=True; OpenMixup trains on the rest")
    data.meaningless("drop_last", "an epoch's last step is dropped where it is not full, always")
    normalization = _normalization(top)
    _refuse_shared_folders(data)
    new: dict[str, Any] = {}
    for split in ("train", "val", "test"):
        if split not in data:
            continue
        batch, workers = batch_size, num_workers
        if split != "train":
            batch, workers = evaluation.batch_size or batch_size, evaluation.num_workers or num_workers
        mean = normalization[0] if normalization else ()
        loader, found = _convert_loader(data.section(split), batch or 1, workers, num_classes, mean)
        new[f"{split}_dataloader"] = loader
        if found and normalization and found != normalization:
            why = f"it normalises otherwise than {normalization}; here one data_preprocessor serves all loaders"
            data.report.add(f"data.{split}.pipeline", "changed", why)
        normalization = normalization or found
    data.close()
    if normalization:
        mean, std = map(list, normalization)
        new = {"data_preprocessor": {"mean": mean, "std": std}, **new}
    return new


def _normalization(top: Section) -> Normalization | None:
    """Return ``img_norm_cfg``, by which OpenMixup normalises what it prefetches, if there is one."""
    if "img_norm_cfg" not in top:
        return None
    found = read_normalization(Section(top.get("img_norm_cfg"), "img_norm_cfg", top.report))
    top.renamed("img_norm_cfg", "data_preprocessor")
    return found


def _refuse_shared_folders(data: Section) -> None:
    """Refuse data sets that are different lists of one folder's images: read by folder, they would be the same."""
    first: dict[PurePosixPath, tuple[str, Any]] = {}
    for split in ("train", "val", "test"):
        path = data.key(f"{split}.data_source")
        source = Section(data.read(split, Mapping[str, Any], {}).get("data_source"), path, data.report)
        if source.get("type") not in LISTS or "root" not in source:
            continue
        root = PurePosixPath(source.read("root", str))
        other, listed = first.setdefault(root, (split, source.get("list_file")))
        if listed != source.get("list_file"):
            why = f"data.{other} and data.{split} are two lists of the images in {root}, and openmix reads no lists: "
            advice = f"sort the images into {root}/{other} and {root}/{split}, one folder a class, and name these roots"
            data.report.add(path, "refused", why + advice)


def _convert_loader(
    old: Section, batch_size: int, num_workers: int, num_classes: int, mean: tuple[float, ...]
) -> tuple[dict[str, Any], Normalization | None]:
    """Return a loader, and what its pipeline normalises by."""
    if old.get("type", "ClassificationDataset") != "ClassificationDataset":
        old.refused("type", "openmix converts ClassificationDataset alone")
    old.meaningless("type", "every data set gives an image and its label")
    dataset = _convert_source(old.section("data_source"), num_classes)
    path = old.key("pipeline")
    items = old.read("pipeline", Sequence[Mapping[str, Any]], [])
    old.values.pop("pipeline", None)
    pipeline, normalization = convert_pipeline(items, path, old.report, mean)
    old.meaningless("prefetch", PREFETCH)
    old.close()
    resident = dataset["type"] in CIFAR and RESIDENT.issuperset(item["type"] for item in pipeline)
    if resident:
        old.report.add(old.path, "changed", "ResidentLoader: the set lies on the device, and there are no workers")
    loader: dict[str, Any] = {"type": "ResidentLoader" if resident else "TorchLoader", "batch_size": batch_size}
    loader |= {} if resident else {"num_workers": num_workers}
    loader |= {"dataset": dataset, **({"pipeline": pipeline} if pipeline else {})}
    return loader, normalization


def _convert_source(old: Section, num_classes: int) -> dict[str, Any]:
    kind = old.get("type")
    if kind in CIFAR:
        root = str(PurePosixPath(old.read("root", str)))
        old.renamed("root", "data_root")
        new = {"type": old.kept("type"), "data_root": root, "split": old.kept("split")}
    elif kind in LISTS and "root" in old:
        new = _folder(old, num_classes)
    else:
        old.refused("type", f"openmix has no data set for {kind}")
        new = {"type": kind}
    old.meaningless("return_label", "every image has its label")
    old.benign({"num_labeled": (None, "all images have labels")})
    old.close()
    return new


def _folder(old: Section, num_classes: int) -> dict[str, Any]:
    """Return a data set of one folder a class for a list of files."""
    root = PurePosixPath(old.read("root", str))
    tiny = "tiny" in str(root).lower() and num_classes == 200
    known = "imagenet" in str(root).lower() and num_classes == 1000 and root.name in ("train", "val")
    kind = "TinyImageNet" if tiny else "ImageNet" if known else "ImageFolder"
    old.changed("type", f"{kind}: one folder a class, and the labels are the folders' order by name")
    old.renamed("root", "data_root and split")
    old.changed("list_file", "not read: labels come from the folders, so val/ has to be sorted into them as well")
    old.meaningless("splitor", "no list is read")
    extra = {"num_classes": num_classes} if kind == "ImageFolder" else {}
    return {"type": kind, "data_root": str(root.parent), "split": root.name, **extra}
