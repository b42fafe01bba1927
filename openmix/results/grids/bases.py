"""Which config a run inherits: the grid's base, that of another network, or that of a method with parts of its own.

The names of configs say what they are: ``r18_mixups_CE_none.py`` is a network, a word for the mixing, and the rest.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openmix.engine.config_files import read_config
from openmix.errors import UserError
from openmix.mixers.catalog import get_method
from openmix.results.grids.names import joined, network_of
from openmix.results.grids.spec import Grid

__all__ = ["base_of", "is_learned"]

FREE = ("alpha", "mix_mode", "mix_prob", "mix_repeat")  # what configs of methods may set, and have no parts for it


def is_learned(mode: Any) -> bool:
    """Return whether a method is a task of its own, which has no ``mix_mode``."""
    return isinstance(mode, str) and get_method(mode).kind == "learned"


def base_of(grid: Grid, settings: Mapping[str, Any]) -> Path:
    """Return the config that a run inherits.

    Raises:
        UserError: there is none for its network or its method.
    """
    base = grid.base
    if "backbone" in settings:
        base = _of_network(base, settings["backbone"])
    mode = settings.get("mix_mode")
    if mode is None:
        return base
    network = network_of(base)[0]
    if (named := grid.bases.get(joined(mode, "+"))) is not None:
        file = Path(str(named).replace("{backbone}", network))
        if not file.is_file():
            raise UserError(f"there is no config file {file}, which is to be the base of {joined(mode, '+')}")
        return file
    modes = [mode] if isinstance(mode, str) else mode
    if learned := [m for m in modes if is_learned(m)]:
        if len(modes) > 1:
            raise UserError(f"{learned[0]} is a task of its own, and cannot be one of several: {' + '.join(modes)}")
        return _of_learned(base, learned[0])
    own = {file for m in modes if (file := _with_parts(base, m)) is not None}
    if len(own) > 1:
        files = ", ".join(sorted(file.name for file in own))
        both = " + ".join(modes)
        raise UserError(f"{both} need parts of {files}: write one config with all, and name it in a grid file's bases")
    return own.pop() if own else base


def _of_network(base: Path, network: str) -> Path:
    """Return the config of the same kind for another network, whose recipe may be another one."""
    _, mixing, rest = network_of(base)
    ending = f"_{mixing}{rest}.py"
    file = base.with_name(f"{network}{ending}")
    if not mixing or not file.is_file():
        known = sorted(path.name.removesuffix(ending) for path in base.parent.glob(f"*{ending}")) if mixing else []
        hint = f"there are {', '.join(known)}" if known else "its name says nothing of a network and of mixing"
        raise UserError(f"no config of {network} like {base} beside it: {hint}")
    return file


def _of_learned(base: Path, mode: str) -> Path:
    """Return the config of a learned method for the base's network: beside it, or in a folder of the method's above."""
    network = network_of(base)[0]
    here = base.resolve().parent
    folders = [here]
    for above in here.parents:
        folders.append(above / mode)
        if (above / "_base_").is_dir():  # where the tree of configs begins
            break
    for folder in folders:
        found = [p for p in sorted(folder.glob(f"{network}_*.py")) if folder.name == mode or f"_{mode}" in p.stem]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UserError(f"{mode} has several configs of {network}: {names}; name one in the grid file's bases")
        if found:
            return found[0]
    raise UserError(
        f"{mode} is a task of its own, and {here} has no config of it for {network}, nor has a folder {mode!r} above; "
        "name one in the grid file's bases"
    )


def _with_parts(base: Path, mode: str) -> Path | None:
    """Return the config of a method beside the base that has more than its name and alpha, such as a guide."""
    network, mixing, rest = network_of(base)
    file = base.with_name(f"{network}_{mode}{rest}.py")
    if not mixing or file == base or not file.is_file():
        return None
    own, plain = (_but_for_free(file), _but_for_free(base))
    return None if own == plain else file


def _but_for_free(file: Path) -> dict[str, Any]:
    cfg = read_config(str(file)).to_dict()
    model = {key: value for key, value in cfg.get("model", {}).items() if key not in FREE}
    return {**cfg, "model": model}
