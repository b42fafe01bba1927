"""Random access: indices, processes, and files that change."""

import multiprocessing
import os
import pickle

import numpy as np
import pytest

from openmix.data.recordio import ImageHeader, RecordFile, pack_image, pack_record, write_records
from openmix.errors import DamagedImageError, UserError

MAGIC = bytes.fromhex("0a23d7ce")


def contents(file: RecordFile) -> list[bytes]:
    return [file.read(i).tobytes() for i in range(len(file))]


def test_with_and_without_an_index(small, naive_records):
    expected = naive_records(small.read_bytes())
    file = RecordFile(small)
    assert contents(file) == expected
    assert file.keys.tolist() == [file.read_image(i)[0].id for i in range(12)]
    small.with_suffix(".idx").rename(small.with_name("other"))
    scanned = RecordFile(small)
    assert contents(scanned) == expected
    assert scanned.keys.tolist() == list(range(12))
    assert contents(RecordFile(small, small.with_name("other"))) == expected


def test_an_index_in_any_order_and_spacing(small):
    index = small.with_suffix(".idx")
    expected = RecordFile(small)
    lines = index.read_text().splitlines()
    index.write_bytes("\r\n".join(reversed(lines)).replace("\t", " ").encode())
    file = RecordFile(small)
    assert file.keys.tolist() == expected.keys.tolist()
    assert contents(file) == contents(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("0\t0\n1\tx\n", "line 2 is b'1"),
        ("0\t0\n1\n", "line 2"),
        ("0\t-4\n", "line 1"),
        ("0\t0.5\n", "line 1"),
        ("0\t0\n1\t1e3\n", "line 2"),
        ("0\t0\n\n1\t12\n", "line 2"),
        ("0\t" + "9" * 4000, "line 1"),
        ("0\t0\n1\t999999999999999999\n", "was cut off, or the index is another file's"),
        ("0\t0\n1\t6\n", "multiples of 4"),
        ("0\t0\n1\t0\n", "twice"),
        ("5\t0\n5\t4\n", "key 5 twice"),
        ("0\t4\n", "no record at byte 0"),
        ("\0" * 50, "line 1"),
        ("٣\t0\n", "line 1"),
    ],
)
def test_indices_that_are_none(small, text, reason):
    small.with_suffix(".idx").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=reason):
        RecordFile(small)


def test_an_index_that_lacks_records(small):
    index = small.with_suffix(".idx")
    lines = index.read_text().splitlines(keepends=True)
    for count in (1, 5, 11):
        index.write_text("".join(lines[:count]))
        with pytest.raises(UserError, match=rf"names {count} records, and .* holds more, .* rec index --force"):
            RecordFile(small)
    index.write_text("".join(lines[:5] + lines[6:]))  # one in the middle shows when the one before it is read
    with pytest.raises(DamagedImageError, match="and the next begins at"):
        RecordFile(small).read(4)


@pytest.mark.parametrize("stray", [b"\0", b"\0\0\0\0", b"\n", bytes(4000)])
def test_stray_bytes_after_the_last_record(small, stray):
    size = small.stat().st_size
    small.write_bytes(small.read_bytes() + stray)
    with pytest.raises(UserError, match=rf"ends at byte {size}, up to byte {size + len(stray)}.* rec verify"):
        RecordFile(small)
    small.with_suffix(".idx").unlink()
    with pytest.raises(UserError, match=rf"damaged at byte {size}"):
        RecordFile(small)


def test_a_damaged_last_record_raises_when_it_is_read(small):
    content = bytearray(small.read_bytes())
    content[RecordFile(small).offsets[11]] ^= 8
    small.write_bytes(content)
    file = RecordFile(small)
    assert len(file.read(10))
    with pytest.raises(DamagedImageError, match="record 11"):
        file.read(11)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        RecordFile(tmp_path / "no.rec")
    with pytest.raises(UserError, match="cannot be read"):
        RecordFile(tmp_path)
    os.mkfifo(tmp_path / "pipe.rec")
    RecordFile(tmp_path / "pipe.rec")  # of no length, and not waited for
    (tmp_path / "a.rec").write_bytes(b"\x89PNG" * 10)
    with pytest.raises(UserError, match="damaged at byte 0, or no RecordIO file"):
        RecordFile(tmp_path / "a.rec")
    (tmp_path / "a.rec").write_bytes(bytes.fromhex("0a23d73e 00000000"))
    for _ in range(2):
        with pytest.raises(UserError, match="early draft"):
            RecordFile(tmp_path / "a.rec")
        (tmp_path / "a.idx").write_text("0\t0\n")


def test_an_empty_file(tmp_path):
    write_records(tmp_path / "a.rec", [])
    file = RecordFile(tmp_path / "a.rec")
    assert len(file) == 0
    assert len(file.headers().labels) == 0
    with pytest.raises(IndexError):
        file.read(0)


def test_reading_copies_nothing_and_writes_nothing(small):
    data = RecordFile(small).read(3)
    assert data.base is not None and not data.flags.writeable and not data.flags.owndata


def test_damaged_records_are_named_and_the_others_read(small):
    file = RecordFile(small)
    expected = contents(file)
    content = bytearray(small.read_bytes())
    content[file.offsets[5] + 4] ^= 8  # a length
    small.write_bytes(content)
    file = RecordFile(small)
    with pytest.raises(
        DamagedImageError, match=rf"small.rec, record 5 \(id {file.keys[5]}, offset {file.offsets[5]}\)"
    ):
        file.read(5)
    assert [file.read(i).tobytes() for i in range(12) if i != 5] == expected[:5] + expected[6:]


def test_a_file_that_becomes_shorter(small):
    """Reading a mapping beyond the file's end would end the process."""
    file = RecordFile(small)
    os.truncate(small, 0)
    with pytest.raises(DamagedImageError, match="and is less"):
        file.read(0)
    with pytest.raises(UserError, match="when it was opened"):
        pickle.loads(pickle.dumps(file))


def digest_of(file: RecordFile) -> int:
    return hash(tuple(file.read(i).sum() for i in range(len(file))))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(small, method):
    file = RecordFile(small)
    again = pickle.loads(pickle.dumps(file))
    assert contents(again) == contents(file)
    if method == "spawn":  # a process that imports torch takes seconds; pickling is what it does
        return
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(digest_of, [file] * 4) == [digest_of(file)] * 4


def test_headers(tmp_path):
    rng = np.random.default_rng(0)
    magic = int.from_bytes(MAGIC, "little")
    expected, records = [], []
    for number in range(300):
        count = int(rng.integers(0, 4))
        labels = tuple(rng.integers(0, 9, count).astype(float).tolist())
        header = ImageHeader(magic if rng.random() < 0.2 else number, labels or float(rng.integers(0, 9)))
        image = rng.bytes(int(rng.integers(0, 9))) + (MAGIC * int(rng.integers(0, 3)))
        expected.append((count, labels[0] if labels else header.label))
        records.append((number, pack_image(header, image)))
    write_records(tmp_path / "a.rec", records)
    headers = RecordFile(tmp_path / "a.rec").headers()
    assert headers.framed.all()
    assert list(zip(headers.flags.tolist(), headers.labels.tolist(), strict=True)) == expected


@pytest.mark.parametrize("size", [0, 1, 8, 23])
def test_headers_of_records_that_are_too_short(tmp_path, size):
    (tmp_path / "a.rec").write_bytes(pack_record(bytes(size)))
    headers = RecordFile(tmp_path / "a.rec").headers()
    assert not headers.framed[0] and np.isnan(headers.labels[0])
