"""How OpenMixup's mixing keys become openmix's."""

from collections.abc import Mapping, Sequence
from typing import Any

from openmix.convert.report import Section
from openmix.convert.spell import spell_short
from openmix.errors import UserError, did_you_mean
from openmix.mixers.catalog import Method, get_method, list_mixers

__all__ = ["PRESET", "convert_mixing"]

PRESET = "openmixup"
# what belongs to mix_mode "automix" and "samix", which OpenMixup's own MixUpClassification raises at
NOT_NAMED = "mix_mode does not name it"


def convert_mixing(model: Section, preset: str | None) -> dict[str, Any]:
    """Return ``alpha``, ``mix_mode``, ``mix_prob``, ``mix_repeat`` and ``mix_args``.

    Args:
        model: the old ``model``.
        preset: 'openmixup' keeps what its ports do otherwise than the methods' authors; None takes the authors'.
    """
    mode = model.read("mix_mode", str | Sequence[str], "mixup")
    new: dict[str, Any] = {"mix_mode": mode, "alpha": model.get("alpha", 1.0)}
    modes = [mode] if isinstance(mode, str) else list(mode)
    known = list_mixers()
    lacking = [mode for mode in modes if mode not in known]
    if lacking:
        hints = "".join(
            f"; {mode}{did_you_mean(mode, known)}" for mode in lacking if did_you_mean(mode, known)[2] == "d"
        )
        model.refused(
            "mix_mode", f"openmix has no mixing method {', '.join(lacking)}{hints or '; it has ' + ', '.join(known)}"
        )
    model.kept("mix_mode")
    model.kept("alpha")
    if model.read("mix_prob", Sequence[float] | None) is None:
        model.meaningless("mix_prob", "None is uniform, and the default")
    else:
        new["mix_prob"] = list(model.kept("mix_prob"))
    if model.get("mix_repeat", 1) in (0, 1):  # False and True as well
        model.meaningless("mix_repeat", "one mix a batch is the default")
    else:
        new["mix_repeat"] = model.kept("mix_repeat")
    mix_args = _mix_args(model.section("mix_args"), [mode for mode in modes if mode in known], preset)
    return {**new, **({"mix_args": mix_args} if mix_args else {})}


def _mix_args(old: Section, modes: list[str], preset: str | None) -> dict[str, Any]:
    new = {}
    for mode in dict.fromkeys(modes):
        method = get_method(mode)
        options = {"preset": PRESET} if preset and preset in method.presets else {}
        _note_preset(old, method, bool(options))
        options |= _method_args(old.section(mode), method, method.presets.get(PRESET, {}) if options else {})
        if options:
            new[mode] = options
    for mode in list(old.values):
        old.meaningless(mode, NOT_NAMED)
    return new


def _note_preset(old: Section, method: Method, used: bool) -> None:
    """Report in what OpenMixup's port of a method differs from its authors' code, if it does."""
    port = method.presets.get(PRESET)
    if port is None:
        return
    differences = ", ".join(f"{k}={spell_short(v)} for {method.hyper[k].default!r}" for k, v in port.items())
    text = (
        f"preset='{PRESET}' keeps what its port does: {differences}"
        if used
        else f"the authors' algorithm; OpenMixup's port has {differences}: --preset {PRESET} keeps that"
    )
    old.report.add(f"{old.key(method.name)}.preset", "kept" if used else "changed", text)


def _method_args(old: Section, method: Method, port: Mapping[str, Any]) -> dict[str, Any]:
    new: dict[str, Any] = {}
    if method.name == "fmix":
        old.meaningless("size", "masks have the size of the images")
    if method.name == "manifoldmix" and "layer" in old:
        ends = old.read("layer", Sequence[int])
        if len(ends) != 2:
            raise UserError(f"{old.key('layer')}: must be the first layer and the one after the last, got {ends}")
        layers = list(range(*ends))
        old.renamed("layer", f"layers={layers}")
        if layers != list(method.hyper["layers"].default):
            new["layers"] = layers
    if method.name == "puzzlemix":
        new |= _puzzle_args(old, list(port.get("block_nums", method.hyper["block_nums"].default)))
    for key in list(old.values):
        if key not in method.hyper:
            hint = method.hints.get(key) or did_you_mean(key, method.hyper)
            old.no_equivalent(key, f"{method.name} takes no {key!r} here{hint}")
        elif _plain(old.get(key)) == _plain(port.get(key, method.hyper[key].default)):
            old.kept(key, f"{spell_short(old.get(key))}, openmix's default as well")
        else:
            new[key] = old.kept(key)
    return new


def _puzzle_args(old: Section, usual: list[int]) -> dict[str, Any]:
    """Return Puzzle Mix's grids: OpenMixup draws a power of two, given by how many there are, and -1 is a block."""
    new: dict[str, Any] = {}
    for key in ("t_batch_size", "mp"):
        old.meaningless(key, "the whole batch is solved at once")
    if "block_num" in old:
        numbers = [2**k for k in range(1, old.read("block_num", int))]
        old.renamed("block_num", f"block_nums={numbers}")
        if numbers != usual:
            new["block_nums"] = numbers
    if old.get("t_size") == -1:
        old.renamed("t_size", "t_size=None")
        new["t_size"] = None
    return new


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
