"""Damage is found and located; and files of any bytes end in one clear message."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openmix.data.recordio import (
    ImageHeader,
    RecordFile,
    RecordWriter,
    pack_image,
    pack_record,
    read_record,
    verify,
    write_records,
)
from openmix.data.recordio.manifest import manifest_path
from openmix.data.sources.recordio import RecordIO
from openmix.data.whole_files import write_whole
from openmix.errors import UserError

MAGIC = bytes.fromhex("0a23d7ce")
COUNT = 12


@pytest.fixture
def packed(tmp_path, encoded) -> Path:
    """A .rec of 12 images with its index and manifest; the image of record 4 lies in three parts."""
    with RecordWriter(tmp_path / "set.rec") as writer:
        for number in range(COUNT):
            comment = b"\xff\xfe\x00\x16\0\0" + MAGIC + b"between!" + MAGIC + b"\0\0" if number == 4 else b""
            image = encoded(number)
            image = image[:2] + comment + image[2:]
            writer.write(100 - number, pack_image(ImageHeader(100 - number, float(number % 3)), image))
        manifest = writer.finish()
    write_whole(manifest_path(tmp_path / "set.rec"), manifest.to_json().encode())
    file = RecordFile(tmp_path / "set.rec")
    parts = [len(read_record(np.fromfile(tmp_path / "set.rec", np.uint8), offset).spans) for offset in file.offsets]
    assert parts == [1] * 4 + [3] + [1] * 7
    return tmp_path / "set.rec"


def found(path: Path) -> list[tuple[int | None, int | None, int]]:
    return [damage[:3] for damage in verify(path).damages]


def without(path: Path, *suffixes: str) -> Path:
    for suffix in suffixes:
        path.with_suffix(suffix).unlink()
    return path


@pytest.mark.parametrize("missing", [(), (".json",), (".json", ".idx")])
def test_nothing_is_found_in_a_whole_file(packed, missing):
    report = verify(without(packed, *missing))
    assert (report.whole, report.damages) == (COUNT, [])
    assert report.means == ("decoding" if missing else "SHA-256")


@pytest.mark.parametrize("missing", [(), (".json",), (".json", ".idx"), (".idx",)])
@pytest.mark.parametrize("number", [0, 5, 11])
@pytest.mark.parametrize("byte", [0, 3, 5, 7], ids=["magic", "magic's end", "length", "part"])
def test_framing(packed, missing, number, byte):
    """It is located, and nothing else is said to be damaged."""
    file = RecordFile(packed)
    offset = int(file.offsets[number])
    content = bytearray(packed.read_bytes())
    content[offset + byte] ^= 0x40 if byte != 5 else 1
    without(packed, *missing).write_bytes(content)
    expected = (number, int(file.keys[number]) if ".idx" not in missing else None, offset)
    damages = [damage for damage in found(packed) if damage[0] is not None]
    assert damages == [expected]
    assert verify(packed).whole == COUNT - 1


@pytest.mark.parametrize("place", [8, 12, 16, 24, 40, 200])
def test_contents_by_sha256(packed, place):
    """Flags, labels, ids and pixels."""
    content = bytearray(packed.read_bytes())
    offset = int(RecordFile(packed).offsets[7])
    content[offset + place] ^= 1
    packed.write_bytes(content)
    assert found(packed) == [(7, 93, offset)]


def test_contents_by_decoding(packed, encoded):
    """A JPEG that was cut off, and one that libjpeg only warns of."""
    pytest.importorskip("simplejpeg")
    images = [encoded(0, 64, 64), encoded(1, 64, 64)[:-700], bytearray(encoded(2, 64, 64)), b"text"]
    images[2][-900:-850] = bytes(50)
    labels = [0.0, 1.0, 2.0, float("nan")]
    records = [(i, pack_image(ImageHeader(i, labels[i]), bytes(image))) for i, image in enumerate(images)]
    without(packed, ".json")
    write_records(packed, [*records, (9, pack_image(ImageHeader(9, (1.0, 2.0)), b"")), (10, b"short")])
    damages = verify(packed).damages
    assert [damage.number for damage in damages] == [1, 2, 3, 5]
    assert "truncated" in damages[0].reason
    assert "Corrupt JPEG" in damages[1].reason
    assert "no number" in damages[2].reason
    assert "24 bytes" in damages[3].reason


def test_cut_off(packed):
    offsets = RecordFile(packed).offsets
    packed.write_bytes(packed.read_bytes()[: int(offsets[9]) + 40])
    damages = verify(packed).damages
    assert damages[0].number is None and "cut off" in damages[0].reason
    assert [damage.number for damage in damages[1:]] == [9, 10]
    assert "there are 12" in damages[2].reason


def test_records_in_another_order(packed):
    """All are whole; the file is another."""
    records = [RecordFile(packed).read(i).tobytes() for i in range(COUNT)]
    packed.write_bytes(b"".join(pack_record(records[i]) for i in (1, 0, *range(2, COUNT))))
    assert verify(packed).damages
    packed.with_suffix(".idx").unlink()
    assert verify(packed).damages


def test_padding(packed):
    without(packed, ".json", ".idx").write_bytes(pack_record(b"abc")[:-1] + b"x")
    assert "padding" in verify(packed).damages[0].reason


Mutation = Callable[[np.random.Generator, bytearray], bytearray]


def place(rng: np.random.Generator, content: bytearray) -> int:
    """Return a place in a file: any, or one in a record's header."""
    if not content:
        return 0
    heads = [i for i in range(0, len(content) - 4, 4) if content[i : i + 4] == MAGIC]
    if heads and rng.random() < 0.7:
        return min(int(rng.choice(heads)) + int(rng.integers(0, 36)), len(content) - 1)
    return int(rng.integers(0, len(content)))


def flip(rng: np.random.Generator, content: bytearray) -> bytearray:
    for _ in range(int(rng.integers(1, 4))):
        content[place(rng, content)] ^= 1 << int(rng.integers(0, 8))
    return content


def cut(rng: np.random.Generator, content: bytearray) -> bytearray:
    return content[: place(rng, content)]


def overwrite(rng: np.random.Generator, content: bytearray) -> bytearray:
    at = place(rng, content)
    size = int(rng.choice([1, 4, 8, 24, 300]))
    content[at : at + size] = [bytes(size), b"\xff" * size, rng.bytes(size), (MAGIC * 75)[:size]][rng.integers(0, 4)]
    return content


def word(rng: np.random.Generator, content: bytearray) -> bytearray:
    """A length, a part's kind, a flag, a label."""
    at = place(rng, content) // 4 * 4
    value = int(rng.choice([0, 1, 3, 4, 24, 2**29 - 1, 2**29, 2**30, 2**31 - 1, 2**32 - 1, 0x7FC00000, 0xBF800000]))
    content[at : at + 4] = value.to_bytes(4, "little")
    return content


def splice(rng: np.random.Generator, content: bytearray) -> bytearray:
    one, other, to = place(rng, content), place(rng, content), place(rng, content)
    return content[:to] + content[min(one, other) : max(one, other)] + content[to + int(rng.integers(0, 40)) :]


def spoil_text(rng: np.random.Generator, content: bytearray) -> bytearray:
    at = place(rng, content)
    new = [b"-1", b"\n", b"\t", b"9" * 30, b"4", b"0", b"\0", b"\xff\xfe", b"1e3", b"{", b'"', b"[[", b"null", b"," * 9]
    content[at : at + int(rng.integers(0, 12))] = new[rng.integers(0, len(new))]
    return content


def framed_well(content: bytes, naive_records: Callable[[bytes], list[bytes]]) -> bool:
    try:
        naive_records(content)
    except (AssertionError, Exception):
        return False
    return True


def attack(path: Path, naive_records: Callable[[bytes], list[bytes]], seed: int) -> str:
    """Spoil one of the three files, read and verify them, and return what came of it."""
    rng = np.random.default_rng(seed)
    files = {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".rec", ".idx", ".json")}
    suffix = [".rec", ".rec", ".rec", ".idx", ".json"][rng.integers(0, 5)]
    mutations: list[Mutation] = [flip, cut, overwrite, splice, word if suffix == ".rec" else spoil_text]
    spoilt = bytes(mutations[rng.integers(0, 5)](rng, bytearray(files[suffix])))
    present = {".idx": suffix == ".idx" or rng.random() < 0.7, ".json": suffix == ".json" or rng.random() < 0.7}
    originals = {record[24:] for record in naive_records(files[".rec"])}
    try:
        path.with_suffix(suffix).write_bytes(spoilt)
        for other, there in present.items():
            if not there:
                path.with_suffix(other).unlink()
        outcome = read_all(path, originals if suffix != ".rec" else None)
        try:
            damages = verify(path).damages
        except UserError as error:
            assert suffix == ".json", error
            return outcome
        if suffix == ".rec" and spoilt != files[suffix]:
            damaged = present[".json"] or not framed_well(spoilt, naive_records)
            assert damages or not damaged, "damage was not found"
        return outcome if not damages else f"{outcome}, found"
    finally:
        for suffix, content in files.items():
            path.with_suffix(suffix).write_bytes(content)


def read_all(path: Path, originals: set[bytes] | None) -> str:
    """Open and read everything; where the .rec is whole, every image that is read is one of the original ones."""
    try:
        source = RecordIO(str(path))
    except UserError as error:
        assert str(path.parent) in str(error) or "RecordIO" in str(error)
        assert len(str(error)) < 1500
        return "refused"
    assert all(0 <= int(label) < source.num_classes for label in source.labels)
    failed = 0
    for index in range(len(source)):
        try:
            image = source.encoded(index).tobytes()
        except UserError as error:
            assert source.name(index) in str(error)
            failed += 1
        else:
            assert originals is None or image in originals
    return "damaged" if failed else "read"


def fuzz(path: Path, naive_records: Callable[[bytes], list[bytes]], count: int) -> dict[str, int]:
    outcomes: dict[str, int] = {}
    for seed in range(count):
        try:
            outcome = attack(path, naive_records, seed)
        except BaseException:
            print(f"seed {seed}")
            raise
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    print(json.dumps(outcomes, sort_keys=True))
    return outcomes


def test_fuzz(packed, naive_records):
    outcomes = fuzz(packed, naive_records, 300)
    assert {"refused, found", "damaged, found", "read, found"} <= outcomes.keys()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_long_fuzz(packed, naive_records):
    assert sum(fuzz(packed, naive_records, 10_000).values()) == 10_000
