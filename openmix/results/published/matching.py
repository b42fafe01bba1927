"""Which published figures are of what a config trains."""

from collections.abc import Mapping
from typing import Any

from openmix.mixers.catalog import get_method, list_mixers
from openmix.results.naming import SELF_SUPERVISED, Label, hyper_parameters, modes_of, transforms_of
from openmix.results.published import Published, read
from openmix.results.published.names import RECIPES

__all__ = ["doubts", "published_like"]

# how a method's alpha is spelt in mix_args, beside model.alpha; what a label already says of it
SAID = ("alpha", "use_alpha")
# of a task, what makes it another experiment than the one that the figures are of
CHANGES = {"mix_repeat": 1, "mix_sample_prob": 1.0, "mix_epochs": None}
# what a task's ``symmetric`` makes of a method, where that is not what the figures without a variant are of
VARIANTS = {("MoCo", True): "symmetric", ("SimSiam", False): "one-way"}


def published_like(config: Mapping[str, Any], label: Label, metric: str = "top1") -> list[Published]:
    """Return the published figures of the same data set, network, method, alpha and epochs, from all sources.

    What is not stated of a figure (epochs, alpha) is no reason to leave it out; :func:`doubts` says so. What is stated
    otherwise is: another alpha, another probability, arguments of a method that are not its defaults or a preset's.

    Args:
        config: the resolved config.
        label: its label.
        metric: a metric of the validation records; only those of :data:`.names.METRICS` have been published. Where no
            labels are learned from, ``top1`` is an online linear probe's.
    """
    model = config.get("model")
    if not isinstance(model, Mapping) or any(model.get(key, usual) != usual for key, usual in CHANGES.items()):
        return []
    modes = modes_of(model)
    if any(_unusual(model, mode) for mode in modes):
        return []
    if metric == "top1" and model.get("type") in SELF_SUPERVISED:
        metric = "online_top1"
    wanted = (metric, label.dataset, label.network, _published_name(model, modes, label))
    return [
        figure
        for figure in read()
        if (figure.metric, figure.dataset, figure.network, figure.method) == wanted
        and figure.epochs in (None, label.epochs)
        and _same_alpha(figure, label, modes)
        and _same_variant(figure, label, modes, model)
        and ("RandAugment" in RECIPES[figure.recipe]) == ("TimmAutoAugment" in transforms_of(config))
    ]


def doubts(figure: Published, label: Label) -> list[str]:
    """Return what is not known to be the same about a figure that :func:`published_like` returned."""
    said = [] if figure.epochs is not None else ["its epochs are not stated"]
    if label.alpha and not figure.alpha:
        said.append("its alpha is not stated")
    if figure.alpha and not label.alpha:
        said.append(f"its alpha is given as {' '.join(f'{a:g}' for a in figure.alpha)}, and the method here has none")
    return said


def _published_name(model: Mapping[str, Any], modes: list[str], label: Label) -> str:
    """Return a key of :data:`.names.METHODS`, or something that is none."""
    mixing = [mode for mode in modes if mode != "vanilla"]
    if mixing == ["cutmix"] and len(modes) == 2 and model.get("clean_pass"):
        return "cutmix+"
    if len(mixing) == 1 and len(modes) == 2:  # a method that is used in some of the batches
        return mixing[0]
    return label.method if sorted(mixing) != ["cutmix", "mixup"] else "mixup+cutmix"


def _unusual(model: Mapping[str, Any], mode: str) -> bool:
    """Tell whether a method is given arguments that are not its own defaults, or those of the preset it is given."""
    given = model.get("mix_args")
    own = given.get(mode) if isinstance(given, Mapping) else None
    if not isinstance(own, Mapping) or mode not in list_mixers():
        return False
    usual = hyper_parameters({"mix_args": {mode: {"preset": own.get("preset")}}}, mode)
    return any(key not in (*SAID, "preset") and usual.get(key) != value for key, value in own.items())


def _same_alpha(figure: Published, label: Label, modes: list[str]) -> bool:
    if not figure.alpha:
        return True  # not stated, or there is none
    if not label.alpha:
        return all(mode in list_mixers() and "alpha" not in get_method(mode).hyper for mode in modes)
    # mixup+cutmix: the figures have mixup's first
    ours = label.alpha if modes != ["cutmix", "mixup"] else label.alpha[::-1]
    return figure.alpha == ours


def _same_variant(figure: Published, label: Label, modes: list[str], model: Mapping[str, Any]) -> bool:
    """Tell whether the share of batches that are mixed is the same, where it is stated; or the loss, without labels."""
    kind = model.get("type")
    if kind in SELF_SUPERVISED:
        symmetric = model.get("symmetric", kind == "SimSiam")
        return figure.variant == VARIANTS.get((kind, symmetric), "")
    if figure.method in ("cutmix+", "mixup+cutmix"):
        return not label.mix_prob
    partly = "vanilla" in modes and len(modes) == 2
    if figure.variant:
        return figure.variant == ("p=0.5" if partly and not label.mix_prob else "p=1")
    return not label.mix_prob and (not partly or not figure.alpha)
