"""Ways to damage the bytes of a checkpoint or its manifest: each takes data, two places and a number for choices."""

import gzip
import io
import json
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from safetensors.torch import save as save_safetensors

from tests.reliability.mutated_content import dumped


def rezipped(data: bytes, edit: Callable[[str, bytes], Mapping[str, bytes]], compression: int = 0) -> bytes:
    """A zip file again, each entry replaced by what ``edit`` makes of it, with checksums that fit."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w", compression) as new:
        for entry in old.infolist():
            for name, content in edit(entry.filename, old.read(entry)).items():
                new.writestr(name, content)
    return target.getvalue()


def flipped(data: bytes, at: int, extent: int, value: int) -> bytes:
    """Flip one bit here, and one at some distance each up to four times."""
    changed = bytearray(data)
    for turn in range(1 + value % 4 if changed else 0):
        changed[(at + turn * extent) % len(changed)] ^= 1 << value % 8
    return bytes(changed)


def _run(data: bytes, at: int, extent: int) -> tuple[bytes, bytes, bytes]:
    begin = at % max(len(data), 1)
    end = begin + extent % 3000
    return data[:begin], data[begin:end], data[end:]


def _joined(data: bytes, at: int, extent: int, change: Callable[[bytes], bytes]) -> bytes:
    before, within, after = _run(data, at, extent)
    return before + change(within) + after


def _entries(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def with_code_of(other: bytes, data: bytes) -> bytes:
    """A checkpoint with another file's pickle in the place of its own."""
    code = next(content for name, content in _entries(other).items() if name.endswith("data.pkl"))
    return _inner(data, lambda _: code)


@cache
def bomb() -> bytes:
    """A checkpoint of a few megabytes, whose tensor unpacks to more than 3 GB."""
    block, times = bytes(1 << 26), 48
    small = _entries(dumped({"a": torch.zeros(77, dtype=torch.uint8)}))
    code = next(content for name, content in small.items() if name.endswith("data.pkl"))
    code = code.replace(b"K" + bytes([77]), pickle.dumps(len(block) * times, 2)[2:-1])
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    crc = 0
    for _ in range(times):
        crc = zlib.crc32(block, crc)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, content in (("a/data.pkl", code), ("a/version", b"3\n"), ("a/byteorder", b"little")):
            file.writestr(name, content)
        info = zipfile.ZipInfo("a/data/0")
        body = packed * times + packer.flush()
        file.writestr(info, body)
        entry = file.getinfo("a/data/0")
    data = target.getvalue()
    old = (zlib.crc32(body).to_bytes(4, "little"), len(body).to_bytes(4, "little") * 2)
    new = (crc.to_bytes(4, "little"), len(body).to_bytes(4, "little") + (len(block) * times).to_bytes(4, "little"))
    assert entry.file_size == len(body)
    # the method, time and date stand before the checksum and the sizes, in the entry and in the directory
    stamp = data[entry.header_offset + 8 : entry.header_offset + 14]
    return data.replace(stamp + b"".join(old), b"\x08\x00" + stamp[2:] + b"".join(new))


def foreign(value: int) -> bytes:
    """Another program's file."""
    tensors = {"backbone.a": torch.arange(4.0), "head.fc.weight": torch.ones(10, 8)}
    kinds: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: b"\x00" * 5000,
        lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        lambda: pickle.dumps({"format": "openmix", "version": 2, "model": {"a": 1}}),
        lambda: gzip.compress(dumped(tensors)),
        lambda: save_safetensors(tensors),
        lambda: b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
        lambda: json.dumps({"format": "openmix"}).encode(),
        lambda: b"PK\x05\x06" + bytes(18),
        lambda: dumped(tensors),
        lambda: dumped({"state_dict": tensors}),
        lambda: dumped(torch.ones(3)),
    ]
    return kinds[value % len(kinds)]()


INTEGERS = (0, -1, 1, 2, 3, 255, 10**6, 2**31, 2**40, 2**62, 2**63, 2**64, 10**30, -(2**63))
GLOBALS = (
    "os system", "builtins eval", "builtins exec", "torch.storage UntypedStorage", "torch HalfStorage", "torch Size",
    "torch ComplexFloatStorage", "torch BoolStorage", "collections OrderedDict", "collections Counter", "torch device",
    "builtins bytearray", "builtins set", "torch.nn.parameter Parameter", "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_sparse_tensor", "torch._utils _rebuild_meta_tensor_no_storage",
    "torch._utils _rebuild_tensor", "torch._utils _rebuild_nested_tensor", "torch._utils _rebuild_qtensor",
    "torch._tensor _rebuild_from_type_v2", "torch.serialization _get_layout", "_codecs encode", "torch Tensor",
    "torch float32", "no.such thing",
)  # fmt: skip


def other_opcode(pickled: bytes, at: int, value: int) -> bytes:
    """Give one whole number, name of a function, or text in a pickle another value."""
    codes = [*pickletools.genops(pickled)]
    places = [
        (code.name, begin, codes[i + 1][2])
        for i, (code, _, begin) in enumerate(codes[:-1])
        if code.name in ("BININT", "BININT1", "BININT2", "GLOBAL", "BINUNICODE") and begin is not None
    ]
    kinds = sorted({name for name, _, _ in places})  # of each kind as often
    of_kind = [place for place in places if place[0] == kinds[value % len(kinds)]]
    name, begin, end = of_kind[at % len(of_kind)]
    if name == "GLOBAL":
        new = b"c" + GLOBALS[value % len(GLOBALS)].replace(" ", "\n").encode() + b"\n"
    elif name == "BINUNICODE":
        text = ("cuda:7", "meta", "0", "99", "", "../../x", "FORMAT", "\x00")[value % 8].encode()
        new = b"X" + len(text).to_bytes(4, "little") + text
    else:
        new = pickle.dumps(INTEGERS[value % len(INTEGERS)], 2)[2:-1]
    return pickled[:begin] + new + pickled[end:]


def _inner(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    return rezipped(data, lambda name, content: {name: change(content) if name.endswith("data.pkl") else content})


def _storage(data: bytes, at: int, change: Callable[[str, bytes], Mapping[str, bytes]]) -> bytes:
    names = [name for name in _entries(data) if "/data/" in name]
    chosen = names[at % len(names)]
    return rezipped(data, lambda name, old: change(name, old) if name == chosen else {name: old})


BYTES: dict[str, Callable[[bytes, int, int, int], bytes]] = {
    "flipped": flipped,
    "cut off": lambda data, at, extent, value: data[: at % max(len(data), 1)],
    "cut off near the end": lambda data, at, extent, value: data[: -(1 + at % 300)],
    "zeroed": lambda data, at, extent, value: _joined(data, at, extent, lambda run: bytes(len(run))),
    "filled": lambda data, at, extent, value: _joined(data, at, extent, lambda run: bytes([value % 256]) * len(run)),
    "repeated": lambda data, at, extent, value: _joined(data, at, extent, lambda run: run * 2),
    "deleted": lambda data, at, extent, value: _joined(data, at, extent, lambda run: b""),
    "appended to": lambda data, at, extent, value: data + data[at % 5000 :][: 1 + extent % 3000],
    "twice": lambda data, at, extent, value: data + data,
    "foreign": lambda data, at, extent, value: foreign(value),
    "bomb": lambda data, at, extent, value: bomb(),
    "packed": lambda data, at, extent, value: gzip.compress(data),
    "deflated": lambda data, at, extent, value: rezipped(data, lambda n, old: {n: old}, zipfile.ZIP_DEFLATED),
    "pickle flipped": lambda data, at, extent, value: _inner(data, lambda old: flipped(old, at, extent, value)),
    "pickle cut": lambda data, at, extent, value: _inner(data, lambda old: old[: at % len(old)]),
    "pickle zeroed": lambda data, at, extent, value: _inner(
        data, lambda old: _joined(old, at, extent % 30, lambda run: bytes(len(run)))
    ),
    "opcode": lambda data, at, extent, value: _inner(data, lambda old: other_opcode(old, at, value)),
    "opcodes": lambda data, at, extent, value: _inner(
        data, lambda old: other_opcode(other_opcode(old, at, value), extent, value // 7)
    ),
    "storage cut": lambda data, at, extent, value: _storage(
        data, at, lambda n, old: {n: old[: value % (len(old) + 1)]}
    ),
    "storage longer": lambda data, at, extent, value: _storage(data, at, lambda n, old: {n: old * 3}),
    "storage lost": lambda data, at, extent, value: _storage(data, at, lambda n, old: {}),
    "storage renamed": lambda data, at, extent, value: _storage(data, at, lambda n, old: {f"../{n}{value}": old}),
    "storage other": lambda data, at, extent, value: _storage(
        data, at, lambda n, old: {n: flipped(old, extent, at, value) if old else b"x"}
    ),
    "version": lambda data, at, extent, value: rezipped(
        data, lambda n, old: {n: bytes([value % 256]) if n.endswith(("version", "byteorder")) else old}
    ),
}  # fmt: skip


def mutate_manifest(text: str, value: int) -> bytes | None:
    """What a manifest may have become; None is a folder."""
    entries = json.loads(text)
    names = sorted(entries)
    name = names[value // 40 % len(names)]
    entry = entries[name]
    changes: list[Any] = [
        None, b"", b"[]", b"{", b"\x00\xff\xfe", b"[" * 100_000, b'{"a":' * 3000, b"1", b"null", b'"x"', b"9" * 6000,
        b'{"last.pth": NaN}', text.encode()[: value % len(text)], text.encode("utf-16"), {**entries, name: None},
        {**entries, name: []}, {**entries, name: {}}, {**entries, "": entry}, {**entries, "gone.pth": entry},
        {**entries, "../../x": entry}, {"x": entries}, [entries], {k: v for k, v in entries.items() if k != name},
        *({**entries, name: {**entry, "step": odd}} for odd in (None, "x", -1, 1e400, [1], {}, True, 10**30, 1.5, 0)),
        *({**entries, name: {k: v for k, v in entry.items() if k != gone}} for gone in entry),
        *({k: {**v, "step": odd} for k, v in entries.items()} for odd in ("x", None, 10**30)),
    ]  # fmt: skip
    change = changes[value % len(changes)]
    return change if change is None or isinstance(change, bytes) else json.dumps(change).encode()
