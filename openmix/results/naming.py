"""What a config trains, in the words of the published figures: data set, network, method, alpha, epochs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openmix.mixers.catalog import get_method, list_mixers
from openmix.results.summaries import number

__all__ = [
    "SELF_SUPERVISED", "Label", "flat", "hyper_parameters", "label", "modes_of", "plain", "plain_method",
    "short_commit", "transforms_of",
]  # fmt: skip

DATASETS = {
    "CIFAR10": "cifar10", "CIFAR100": "cifar100", "TinyImageNet": "tiny-imagenet", "ImageNet": "imagenet",
    "CUB200": "cub200", "FGVCAircraft": "aircraft", "StanfordCars": "cars", "Digits": "digits",
}  # fmt: skip
# where a data set lies and which part of it is meant do not make it another; what holds anybody's images is its place
PLACES = {"type", "data_root", "path", "split", "download", "num_classes", "file_list", "ann_file"}
LEARNED = {
    "AutoMixClassification": "automix", "SAMixClassification": "samix", "AdAutoMixClassification": "adautomix",
    "RLMixClassification": "rlmix", "AugMixClassification": "augmix",
}  # fmt: skip
SELF_SUPERVISED = {"MoCo": "moco", "MoCoV3": "mocov3", "SimSiam": "simsiam", "SimCLR": "simclr", "MAE": "mae"}
# a head on a trunk that others trained: no training of this network at all
PROBES = {"LinearProbe": "linear-probe"}
TASKS = {**LEARNED, **SELF_SUPERVISED, **PROBES}  # those that are called by a name of their own

# transforms that are methods of their own in the published tables; TimmAutoAugment is a part of several recipes
METHODS_OF_PIPELINES = {
    "CropMix": "cropmix", "CropMixPair": "cropmix", "ScaleMix": "scalemix", "AutoAugment": "autoaugment",
    "RandAugment": "randaugment",
}  # fmt: skip
TIMM = {
    "resnet18": "r18", "resnet34": "r34", "resnet50": "r50", "resnet101": "r101", "resnet200": "r200",
    "resnext50_32x4d": "rx50", "efficientnet_b0": "efficientnet-b0", "mobilenetv2_100": "mobilenetv2",
    "convnext_tiny": "convnext-t", "deit_tiny_patch16_224": "deit-t", "deit_small_patch16_224": "deit-s",
    "deit_base_patch16_224": "deit-b", "vit_base_patch16_224": "vit-b", "swin_tiny_patch4_window7_224": "swin-t",
}  # fmt: skip
# of a backbone, what does not make it another network
TRAINING_OF_NETWORK = {"in_channels", "zero_init_residual", "drop_path_rate", "pretrained", "channels_last", "variant"}
SMALL_IMAGES = ("cifar10", "cifar100", "tiny-imagenet")


@dataclass(frozen=True)
class Label:
    """What a config trains, in the words of a table and of the published figures.

    Attributes:
        dataset: such as ``cifar10``; the data set's type and where it lies where the published figures do not know it.
        network: such as ``r18``; the backbone's type and what sets it apart where they do not.
        method: such as ``mixup+cutmix``, or ``moco+cropmix``: how is learned, and what is mixed.
        alpha: Beta's parameter, one for each of the methods that have one.
        mix_prob: the probability of each method; empty where they are equally likely.
        epochs: how long is trained; None where ``train_cfg.max_iters`` says it in steps.
    """

    dataset: str
    network: str
    method: str
    alpha: tuple[float, ...]
    mix_prob: tuple[float, ...]
    epochs: int | None


def label(config: Mapping[str, Any]) -> Label:
    """Return a resolved config's label.

    >>> label({
    ...     "model": {"type": "MixUpClassification", "backbone": {"type": "ResNet_CIFAR", "depth": 18},
    ...               "mix_mode": ["mixup", "cutmix"], "alpha": [0.1, 1]},
    ...     "train_dataloader": {"dataset": {"type": "CIFAR10"}}, "train_cfg": {"max_epochs": 200},
    ... })
    Label(dataset='cifar10', network='r18', method='mixup+cutmix', alpha=(0.1, 1.0), mix_prob=(), epochs=200)
    """
    model = _mapping(config.get("model"))
    dataset = _dataset(_mapping(config.get("train_dataloader")))
    modes = modes_of(model)
    probabilities = _numbers(model.get("mix_prob"))
    transforms = transforms_of(config)
    if of_pipeline := dict.fromkeys(name for kind, name in METHODS_OF_PIPELINES.items() if kind in transforms):
        modes = [*(mode for mode in modes if mode != "vanilla"), *of_pipeline]
    return Label(
        dataset,
        _network(_mapping(model.get("backbone")), dataset),
        "+".join(modes),
        tuple(alpha for mode in range(len(modes)) for alpha in _alpha(model, modes, mode)),
        probabilities if len(set(probabilities)) > 1 else (),
        _mapping(config.get("train_cfg")).get("max_epochs"),
    )


def modes_of(model: Mapping[str, Any]) -> list[str]:
    """Return the methods of a config's ``model``, as ``mix_mode`` lists them."""
    kind = model.get("type")
    if kind in TASKS:
        return [TASKS[str(kind)]]
    modes = model.get("mix_mode", "mixup" if kind == "MixUpClassification" else "vanilla")
    return [plain(modes)] if not isinstance(modes, list) else [plain(mode) for mode in modes] or ["vanilla"]


def plain_method(method: str) -> str:
    """Return the method that one is compared with where nothing else is asked for: the same without mixing.

    >>> plain_method("mixup+cutmix"), plain_method("moco+cropmix"), plain_method("simsiam")
    ('vanilla', 'moco', 'simsiam')
    """
    first = method.split("+")[0]
    return first if first in (*SELF_SUPERVISED.values(), *PROBES.values()) else "vanilla"


def hyper_parameters(model: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """Return the values that a method of a config's ``model`` is given, defaults and presets included, but for alpha.

    Empty for what is no method of the catalogue.
    """
    if mode not in list_mixers():
        return {}
    method, given = get_method(mode), dict(_mapping(_mapping(model.get("mix_args")).get(mode)))
    preset = _mapping(method.presets.get(str(given.pop("preset", None))))
    return {**{name: p.default for name, p in method.hyper.items()}, **preset, **given}


def _alpha(model: Mapping[str, Any], modes: Sequence[str], which: int) -> tuple[float, ...]:
    """Return the alpha of one of the methods, as the task settles it: its own of mix_args, the model's, its default."""
    given, mode = model.get("alpha"), modes[which]
    if isinstance(given, list):
        given = given[which] if which < len(given) else None
    if model.get("type") in LEARNED:
        return _numbers([given])
    values = hyper_parameters(model, mode)
    if "alpha" not in values or values.get("use_alpha") is False:
        return ()
    own = _mapping(_mapping(model.get("mix_args")).get(mode)).get("alpha")
    alpha = next((a for a in (own, given, values["alpha"]) if a is not None), None)
    return _numbers(alpha if isinstance(alpha, list | tuple) else [alpha])


def _dataset(loader: Mapping[str, Any]) -> str:
    parts = loader.get("loaders")
    if isinstance(parts, list) and parts:  # of a PhasedLoader: the first phase may be on small copies
        return _dataset(_mapping(parts[-1]))
    dataset = _mapping(loader.get("dataset"))
    kind = plain(dataset.get("type", "unknown"))
    if kind == "INaturalist":
        return f"inat{plain(dataset.get('year', 2018))}"
    if kind in DATASETS:
        return _with(DATASETS[kind], {key: value for key, value in dataset.items() if key not in PLACES})
    return _with(kind, {key: value for key, value in dataset.items() if key not in ("type", "split", "download")})


def _network(backbone: Mapping[str, Any], dataset: str) -> str:
    """Return the short name that the published figures have for exactly this network, or a description."""
    kind = plain(backbone.get("type", "unknown"))
    own = {key: value for key, value in backbone.items() if key != "type" and key not in TRAINING_OF_NETWORK}
    depth, stem = own.get("depth"), "_CIFAR" if dataset in SMALL_IMAGES else ""
    if own == {"depth": depth} and kind == f"ResNet{stem}":
        return f"r{plain(depth)}"
    if own == {"depth": depth} and kind == f"ResNeXt{stem}":
        return f"rx{plain(depth)}"
    if own == {"depth": depth} and kind == "PreActResNet":
        return f"preactresnet{plain(depth)}"
    if own.keys() == {"depth", "widen_factor"} and kind == "WideResNet":
        return f"wrn{plain(depth)}-{plain(own['widen_factor'])}"
    if own.keys() == {"depth", "width"} and kind == "ShakeShake":
        return f"ss{plain(depth)}-2x{plain(own['width'])}d"
    if kind == "ResNeXt29_4_24" and not own:
        return "resnext29-4-24"
    if kind == "TimmBackbone" and own.keys() == {"name"}:
        return TIMM.get(str(own["name"]), plain(own["name"]))
    if kind == "TimmBackbone" and "name" in own:
        kind = plain(own.pop("name"))
    return _with(kind, own)


def _with(name: str, values: Mapping[str, Any]) -> str:
    """Return a name with what sets it apart: ``ConvNet widths=16-32``."""
    spelt = [f"{key}={plain(value)}" for key, value in flat(values).items()]
    return " ".join([name, *spelt])


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted key; lists are kept whole, but for those that hold any."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list) and _holds_mappings(value):
            value = {str(i): item for i, item in enumerate(value)}
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def _holds_mappings(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_holds_mappings, value)))


def transforms_of(config: Mapping[str, Any]) -> set[str]:
    """Return the types of everything in the training images' pipeline."""
    return {value for key, value in _walk(_mapping(config.get("train_dataloader"))) if key == "type"}


def _walk(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from [(key, item)] if isinstance(item, str) else _walk(item)
    elif isinstance(value, list):
        for item in value:
            yield from _walk(item)


def short_commit(commit: Any) -> str:
    """Return a run's commit by 10 of its digits, with the mark of code that differs from it.

    >>> short_commit("5f4a7d2bf01f0e756a4ecce8c9acdbd1393cd4e4-dirty")
    '5f4a7d2bf0-dirty'
    """
    digits, dirty, _ = plain(commit).partition("-dirty")
    return digits[:10] + dirty


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _numbers(values: Any) -> tuple[float, ...]:
    """Return a list of numbers; nothing for anything else."""
    found = [number(value) for value in values] if isinstance(values, list | tuple) else []
    return tuple(value for value in found if value is not None) if None not in found else ()


def plain(value: Any) -> str:
    """Return a config's value as a line of printable characters: a terminal obeys some of the others."""
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return "".join(character if character.isprintable() else "?" for character in text)
