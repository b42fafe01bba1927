"""What a checkpoint's features are worth: kNN and a linear probe on them, beside those of an untrained network."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from openmix.data.loaders import Loader
from openmix.engine.build import initialise, knn_settings, open_bank, open_loader, seed_of, without_weights
from openmix.engine.config_hash import config_hash
from openmix.engine.damage import DamageLog
from openmix.engine.distributed import World, check_same, main_only, of_main
from openmix.engine.features import Extract, Features, Kind, extractor, features_of, knn_top1
from openmix.engine.log import open_logger
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import KnnCfg, Preprocessor
from openmix.engine.weights import fitted_weights, lacking
from openmix.errors import UserError
from openmix.evaluation.linear import L2_STRENGTHS, choose_l2, fit_logistic
from openmix.tasks.base import Task

__all__ = ["Progress", "Wanted", "probe", "wanted_knn"]

# shows something long by its name and how many parts it has; what it yields is told how many are done since
Progress = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], object]]]
PIXELS = "pixels"


@dataclass(frozen=True)
class Wanted:
    """What is to be found out.

    Attributes:
        knn: classify by the nearest training images so; None does not.
        linear: fit a linear classifier to the features of the training images, those of the trunk.
        l2: its penalty, see :func:`~openmix.evaluation.linear.fit_logistic`; None chooses one of a few on a fifth of
            the training set.
        baselines: the same for the network as it is before training, and kNN of the pixels, in [0, 1], themselves.
    """

    knn: KnnCfg | None
    linear: bool
    l2: float | None = None
    baselines: bool = False

    @property
    def kinds(self) -> list[Kind]:
        """Which of a network's features are needed."""
        kinds: list[Kind] = [] if self.knn is None else [self.knn.features]
        return list(dict.fromkeys([*kinds, "backbone"] if self.linear else kinds))


def wanted_knn(cfg: Mapping[str, Any], given: Mapping[str, Any]) -> KnnCfg:
    """Return how the config's own validation classifies by kNN, or the defaults, but for what is given (not None)."""
    own = asdict(knn_settings(cfg) or KnnCfg())
    try:
        return KnnCfg(**{**own, **{name: value for name, value in given.items() if value is not None}})
    except ValueError as error:
        raise UserError(str(error)) from error


def probe(
    cfg: Mapping[str, Any], checkpoint: str, world: World, wanted: Wanted, progress: Progress, split: str = "val"
) -> dict[str, Any]:
    """Return the figures: what they are of, and ``rows``, one for each network's features.

    The training set is seen through the evaluated loader's pipeline, without augmentation; the trunk is in mode 'eval'
    and stays as it is; a checkpoint's averaged weights are taken where its run averages. The same on any number of
    processes.

    Args:
        cfg: the checkpoint's config, from :func:`openmix.engine.config.load_config`.
        checkpoint: a file that training wrote, or another program's weights of this trunk.
        world: the processes that share the work.
        wanted: what is to be found out.
        progress: shows it.
        split: 'val' or 'test': of which loader the classified images are.

    Raises:
        UserError: the checkpoint is missing, damaged, another network's, or lacks what the features go through; the
            config has no such loader; there are fewer training images than neighbours.
    """
    key = f"{split}_dataloader"
    check_same(world, f"a config of hash {config_hash(cfg)}", "start all with the same config and options")
    if cfg.get(key) is None:
        raise UserError(f"the config has no {key}, whose images would be classified")
    with open_loader(cfg, key, world) as loader, open_bank(cfg, world, key) as bank:
        assert loader is not None
        if wanted.knn is not None and wanted.knn.k > bank.num_samples:
            raise UserError(f"k={wanted.knn.k} is more than the {bank.num_samples:,} training images")
        task = initialise({**cfg, "model": without_weights(cfg["model"])}, world.device)
        extractors = {kind: extractor(task, kind) for kind in wanted.kinds}
        trained = _weights_for(task, checkpoint, wanted)
        normalize = Normalize(Preprocessor(**cfg.get("data_preprocessor", {})), world.device)
        damage = DamageLog(open_logger(None, world)[0], world)
        rows, damaged = [], {}
        for network, kind, extract, seen in _sources(task, trained, extractors, wanted, normalize, seed_of(cfg)):
            name = network if kind == PIXELS else f"{network}, {kind}"
            parts = {"training": bank, split: loader}
            found = [_features(task, extract, parts[p], seen, damage, f"{name}: {p} set", progress) for p in parts]
            counted = damage.pop()  # each network's passes meet the same images
            damaged = damaged or counted
            figures = _figures(found[0], found[1], bank.num_classes, kind, wanted, world, progress, name)
            rows.append({"network": network, "features": kind, "dim": found[0].values.shape[1], **figures})
        about = {"checkpoint": str(checkpoint), "split": split, "bank_n": bank.num_samples, "n": loader.num_samples}
        asked = {} if wanted.knn is None else {"knn": asdict(wanted.knn)}
        return {**about, **asked, "rows": rows, **damaged}


def _weights_for(task: Task, checkpoint: str, wanted: Wanted) -> dict[str, Tensor]:
    """Return a checkpoint's weights for a task, or raise UserError if features would go through what it has not."""
    fitted = fitted_weights(checkpoint, task)
    through = lacking(fitted, "projection" if "projection" in wanted.kinds else "backbone")
    if parts := [part for part in through if part not in ("head", "norm", "probe")]:
        raise UserError(f"{checkpoint} has no weights of {' and '.join(parts)}, which the features go through")
    return fitted.weights


def _sources(
    task: Task,
    trained: Mapping[str, Tensor],
    extractors: Mapping[str, Extract],
    wanted: Wanted,
    normalize: Normalize,
    seed: int,
) -> Iterator[tuple[str, str, Extract, Normalize]]:
    """Yield what features are wanted of, the trained network's last: name, kind, how they are made, of what input."""
    if wanted.baselines and wanted.knn is not None:  # a linear layer on thousands of pixels takes an hour
        yield "raw pixels", PIXELS, lambda images: images.flatten(1), Normalize(Preprocessor(), normalize.scale.device)
    if wanted.baselines:
        for kind, extract in extractors.items():
            yield f"untrained (seed {seed})", kind, extract, normalize
    task.load_state_dict(trained)
    for kind, extract in extractors.items():
        yield "trained", kind, extract, normalize


def _features(
    task: Task, extract: Extract, loader: Loader, seen: Normalize, damage: DamageLog, name: str, progress: Progress
) -> Features:
    with progress(name, loader.num_samples) as advance:
        return features_of(task, extract, loader, seen, damage, advance)


def _figures(
    bank: Features, queries: Features, num_classes: int, kind: str, wanted: Wanted, world: World, progress: Progress,
    name: str,
) -> dict[str, Any]:  # fmt: skip
    """Return what is wanted of these features; what is of another kind than these is not."""
    figures: dict[str, Any] = {}
    if wanted.knn is not None and kind in (wanted.knn.features, PIXELS):
        with progress(f"{name}: kNN", 1) as advance:
            figures["top1_knn"] = knn_top1(bank, queries, num_classes, wanted.knn, world)
            advance(1)
    if wanted.linear and kind == "backbone":
        linear: list[dict[str, Any]] = []  # one, of the process that fits
        # on one process, and the others are told: what it takes is memory, of which they may share a machine's
        main_only(world, lambda: linear.append(_linear(bank, queries, num_classes, wanted.l2, progress, name)))
        figures |= of_main(linear)[0]
    return figures


def _linear(
    bank: Features, queries: Features, num_classes: int, l2: float | None, progress: Progress, name: str
) -> dict[str, Any]:
    """Return a linear probe's accuracy in per cent, with its penalty."""
    values, labels = bank
    try:
        with progress(f"{name}: linear probe", 1 if l2 is not None else len(L2_STRENGTHS) + 1) as advance:
            if l2 is None:
                l2 = choose_l2(values, labels, num_classes, tried=lambda strength, accuracy: advance(1))
            fit = fit_logistic(values, labels, num_classes, l2)
            advance(1)
    except ValueError as error:
        raise UserError(f"linear probe: {error}") from error
    hits = [
        fit.predict(rows) == own
        for rows, own in zip(queries.values.split(4096), queries.labels.split(4096), strict=True)
    ]
    return {"top1_linear": 100 * torch.cat(hits).double().mean().item(), "l2": l2}
