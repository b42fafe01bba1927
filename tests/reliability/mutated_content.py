"""Ways to put into a checkpoint what no training would: odd values anywhere, and pickles that call something."""

import io
import os
import subprocess
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.reduced = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.reduced


def dumped(content: Any) -> bytes:
    """What ``torch.save`` makes of a content, however deep it is nested."""
    file, limit = io.BytesIO(), sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        torch.save(content, file)
    finally:
        sys.setrecursionlimit(limit)
    return file.getvalue()


def _deep(kind: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(2000):
        value = kind(value)
    return value


def _laughs() -> Any:
    value: Any = ["ha"] * 9
    for _ in range(40):
        value = [value] * 9
    return value


def _itself() -> Any:
    value: list[Any] = [1]
    value.append(value)
    return value


def code_as_text(canary: Path) -> list[str]:
    """Texts that touch a file where anything executes them."""
    touch = f"touch {canary}"
    return [
        f"__import__('os').system('{touch}')", f"{{{{ __import__('os').system('{touch}') }}}}",
        f"import os\nos.system('{touch}')\nmodel = 1\n", f"$({touch})", f"!!python/object/apply:os.system ['{touch}']",
    ]  # fmt: skip


def strange_values(canary: Path) -> list[Callable[[], Any]]:
    """Makers of values that no training would save."""
    plain: list[Any] = [
        None, True, False, 0, -1, 7, 10**30, -(10**30), 10**5000, 2**62, 0.5, float("nan"), float("inf"),
        float("-inf"), 1e308, -1e-320, "", "x", "openmix", "é\u202e\x1b[2J\n", "\x00", "9" * 5000, b"", b"\x80\x04.",
        (), [], {}, [None], {None: None}, {1: 2, "a": [3]}, {(1, 2): 3}, {True: 1}, {b"a": 1}, {"": ""}, set(), {1},
        [0] * 9999, *code_as_text(canary),
        torch.float16, torch.Size([3]), torch.device("cpu"), complex(1, 2), Counter("abc"), torch.strided,
        OrderedDict(), slice(3), range(9), Path("x"),
    ]  # fmt: skip
    made: list[Callable[[], Any]] = [
        lambda: torch.tensor(3), lambda: torch.tensor(float("nan")), lambda: torch.ones(2), lambda: torch.zeros(0),
        lambda: torch.ones(1, 2), lambda: torch.ones(2, 3, dtype=torch.complex64), lambda: torch.eye(3).to_sparse(),
        lambda: torch.ones(3, device="meta"), lambda: torch.zeros(()).expand(1 << 20, 1 << 20),
        lambda: torch.zeros(1, dtype=torch.uint8).expand(1 << 62), lambda: torch.eye(2).to_sparse_csr(),
        lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
        lambda: torch.nn.Parameter(torch.ones(1)),
        lambda: torch.tensor([True]), lambda: torch.tensor(2**62), lambda: torch.tensor(b"abc"[0]),
        lambda: _deep(lambda value: [value]), lambda: _deep(lambda value: {"a": value}),
        lambda: _deep(lambda value: (value,)), _laughs, _itself,
    ]  # fmt: skip
    return [*((lambda value=value: value) for value in plain), *made, *(lambda c=c: c for c in calls(canary))]


def calls(canary: Path) -> list[Any]:
    """Objects whose pickle calls something: to do harm, or what torch allows, on arguments that are none."""
    utils, storage, at = torch._utils, torch.UntypedStorage, str(canary)
    write = f"open({at!r}, 'w').close()"
    return [
        Call(os.system, f"touch {at}"), Call(eval, write), Call(exec, write), Call(os.mkdir, at), Call(print, "x"),
        Call(subprocess.check_call, ["touch", at]), Call(Path(at).touch), Call(open, at, "w"), Call(getattr, 1, "real"),
        Call(torch.load, at), Call(torch.save, 1, at), Call(os.putenv, "A", "B"), Call(__import__, "antigravity"),
        Call(OrderedDict, state={"items": 5}), Call(OrderedDict, state={"get": "x", "keys": 3}),
        Call(OrderedDict, state={"_metadata": 5}), Call(OrderedDict, 5), Call(OrderedDict, [(1, 2)]),
        Call(Counter, 5), Call(Counter, "aab"), Call(set, [[]]), Call(bytearray, 10**11), Call(bytearray, -1),
        Call(torch.Size, "ab"), Call(torch.Size, [10**30]), Call(torch.device, "cuda:99"), Call(torch.device, "meta"),
        Call(storage, 10**14), Call(storage, -1), Call(torch.FloatStorage, 10**14), Call(torch.Tensor, 10**7, 10**7),
        Call(torch.nn.Parameter, 1), Call(utils._rebuild_parameter, 1, 2, 3),
        Call(utils._rebuild_tensor_v2, storage(8), 0, (1,), (1,), False, OrderedDict()),
        Call(utils._rebuild_tensor_v2, None, 0, (10**9,), (1,), False, OrderedDict()),
        Call(utils._rebuild_meta_tensor_no_storage, torch.float32, (10**9, 10**9), (1, 1), False),
        Call(utils._rebuild_sparse_tensor, torch.sparse_coo, (torch.tensor([[99]]), torch.ones(1), (3,), True)),
        Call(torch._tensor._rebuild_from_type_v2, torch.ones, (1,), {"isfinite": 1}, torch.Tensor),
        Call(torch._tensor._rebuild_from_type_v2, utils._rebuild_meta_tensor_no_storage, torch.Tensor,
             (torch.float32, (3,), (1,), False), {"isfinite": 1, "to": 2}),
    ]  # fmt: skip


def other_tensors(tensor: torch.Tensor) -> list[Callable[[], Any]]:
    """Makers of what a tensor may have become."""
    return [
        tensor.double, tensor.half, lambda: tensor.to(torch.complex64), tensor.int, tensor.bool,
        lambda: torch.full_like(tensor.float(), float("nan")), lambda: torch.full_like(tensor.float(), float("inf")),
        lambda: torch.cat([tensor.flatten()[:-1], tensor.new_tensor([-1]).flatten()]).view_as(tensor),
        lambda: tensor.new_zeros(0), lambda: tensor[None], tensor.flatten, lambda: tensor.to("meta"),
        lambda: tensor.float().to_sparse(), lambda: tensor.t() if tensor.ndim == 2 else tensor.flatten()[:1],
        lambda: tensor.new_zeros(()).expand(1 << 20, 1 << 20), lambda: tensor.new_zeros(()).expand(tensor.shape),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8), tensor.tolist,
        lambda: torch.nn.Parameter(tensor.float()), lambda: -tensor.float(), lambda: tensor.float() * 1e30,
        lambda: tensor.to(torch.float8_e4m3fn), lambda: tensor.float().numpy(), tensor.to_mkldnn if tensor.ndim == 4
        and tensor.dtype == torch.float32 else tensor.clone,
    ]  # fmt: skip


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _with_texts(value: Any, text: str) -> Any:
    """The same, every text replaced but names, and what a resumed run would be refused for at once."""
    if isinstance(value, dict):
        return {key: one if key in ("format", "data") else _with_texts(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_texts(one, text) for one in value]
    return text if isinstance(value, str) else value


def mutate_content(state: dict[str, Any], way: tuple[int, ...], how: str, value: int, canary: Path) -> Any:
    """Change one place of a loaded checkpoint, and return it: ``way`` leads there, a child at each depth."""
    if how == "texts":
        scripts = code_as_text(canary)
        return _with_texts(state, scripts[value % len(scripts)])
    parent, key, node = None, None, state
    for step in way:
        children = _children(node)
        if not children:
            break
        parent, key = node, children[step % len(children)]
        node = parent[key]
    makers = strange_values(canary)
    if how == "altered":
        made = other_tensors(node) if isinstance(node, torch.Tensor) else makers
        new = made[value % len(made)]()
    elif how == "wrapped":
        new = ([node], {"a": node}, (node, node), [node, node], {0: node}, str(node)[:999])[value % 6]
    else:
        new = makers[value % len(makers)]()
    if parent is None:
        return new
    if how == "deleted":
        del parent[key]
    elif how == "duplicated" and isinstance(parent, list):
        parent.insert(0, node)
    elif how == "duplicated":
        odd = (1, None, "x", f"{key}.x", "", 10**30, (1,), b"a", True, 0.5)[value % 10]
        parent[odd] = node
    elif how == "rekeyed" and isinstance(parent, dict):
        parent[(0, "x", None, b"k", f"{key}\x1b[2J", (1, 2), 10**40, -1)[value % 8]] = parent.pop(key)
    else:
        parent[key] = new
    return state
