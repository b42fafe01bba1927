"""Writing: a file with its name is whole, and what a kill left is gone on with."""

import json

import numpy as np
import pytest

from openmix.data.recordio import RecordFile, RecordWriter, read_manifest, write_records
from openmix.data.recordio.manifest import digest, manifest_path
from openmix.data.recordio.writer import journal_path, read_journal, temporary_path
from openmix.data.whole_files import write_whole
from openmix.errors import UserError

RECORDS = [(key, np.random.default_rng(key).bytes(20 + key)) for key in (4, 0, 9, 2)]


def test_bytes_and_index(tmp_path, naive_records):
    write_records(tmp_path / "a.rec", RECORDS)
    assert naive_records((tmp_path / "a.rec").read_bytes()) == [data for _, data in RECORDS]
    assert (tmp_path / "a.idx").read_text() == "4\t0\n0\t32\n9\t60\n2\t100\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.idx", "a.rec"]


def test_nothing_is_there_before_the_end(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(*RECORDS[0])
    assert [path.name for path in tmp_path.iterdir()] == ["a.rec.part"]


def test_one_key_twice(tmp_path):
    with pytest.raises(UserError, match="the same key"):
        write_records(tmp_path / "a.rec", [RECORDS[0], RECORDS[0]])
    assert list(tmp_path.iterdir()) == []


def whole(tmp_path) -> bytes:
    write_records(tmp_path / "whole.rec", RECORDS)
    return (tmp_path / "whole.rec").read_bytes()


@pytest.mark.parametrize("cut", [None, 0, 1, 31, 32, 33, 59, 60, 70, 99, 100])
@pytest.mark.parametrize("journal_cut", [None, 3, 20, 50])
def test_going_on(tmp_path, cut, journal_cut):
    """Whatever was lost of the two files, the result is the same."""
    with RecordWriter(tmp_path / "a.rec", "mine") as writer:
        for record in RECORDS[:3]:
            writer.write(*record)
    for file, size in ((temporary_path(tmp_path / "a.rec"), cut), (journal_path(tmp_path / "a.rec"), journal_cut)):
        if size is not None:
            file.write_bytes(file.read_bytes()[:size])
    with RecordWriter(tmp_path / "a.rec", "mine") as writer:
        taken = len(writer.entries)
        if journal_cut is None:
            assert taken == sum(cut is None or end <= cut for end in (32, 60, 100))
        for record in RECORDS[taken:]:
            writer.write(*record)
        manifest = writer.finish()
    assert (tmp_path / "a.rec").read_bytes() == whole(tmp_path)
    assert [row.tobytes() for row in manifest.digests] == [digest(data) for _, data in RECORDS]


def test_damaged_records_are_not_taken_over(tmp_path):
    with RecordWriter(tmp_path / "a.rec", "mine") as writer:
        for record in RECORDS[:3]:
            writer.write(*record)
    part = temporary_path(tmp_path / "a.rec")
    content = bytearray(part.read_bytes())
    content[45] ^= 1  # in the second one's data
    part.write_bytes(content)
    with RecordWriter(tmp_path / "a.rec", "mine") as writer:
        assert [entry.key for entry in writer.entries] == [4]


def test_another_fingerprint_starts_afresh(tmp_path):
    with RecordWriter(tmp_path / "a.rec", "mine") as writer:
        writer.write(*RECORDS[0])
    with RecordWriter(tmp_path / "a.rec", "other") as writer:
        assert writer.entries == []
        assert temporary_path(tmp_path / "a.rec").stat().st_size == 0


def test_what_was_left_out_is_noted(tmp_path):
    with RecordWriter(tmp_path / "a.rec", "mine") as writer:
        writer.leave_out(3, "is\tno\nimage \udcff")
    entries = read_journal(tmp_path / "a.rec", "mine")
    assert entries == [(3, None, "is no image \udcff")]


class TestManifest:
    def write(self, tmp_path) -> dict:
        with RecordWriter(tmp_path / "a.rec") as writer:
            for record in RECORDS:
                writer.write(*record)
            manifest = writer.finish()
        write_whole(manifest_path(tmp_path / "a.rec"), manifest.to_json().encode())
        again = read_manifest(tmp_path / "a.rec")
        assert again and again.to_json() == manifest.to_json()
        assert (again.count, again.size) == (4, len((tmp_path / "a.rec").read_bytes()))
        return json.loads(manifest.to_json())

    def test_none(self, tmp_path):
        assert read_manifest(tmp_path / "a.rec") is None

    def test_an_older_one_goes(self, tmp_path):
        self.write(tmp_path)
        write_records(tmp_path / "a.rec", RECORDS[:1])
        assert read_manifest(tmp_path / "a.rec") is None
        assert len(RecordFile(tmp_path / "a.rec")) == 1

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"format": "openmix recordio 2"}, "its format should be"),
            ({"count": -1}, "no number of things"),
            ({"count": True}, "no number of things"),
            ({"count": 5}, "digests or labels of 4 records"),
            ({"digests": "?"}, "no base64"),
            ({"digests": 7}, "manifest of a.rec"),
            ({"labels": "AAAA"}, "labels of 0.75 records"),
            ({"labels": [1]}, "manifest of a.rec"),
            ({"classes": "ab"}, "no list"),
            ({"classes": [1]}, "no text"),
            ({"classes": ["a"], "histogram": [1, 2]}, "names 1 classes and counts 2"),
            ({"options": []}, "no object"),
            ({"sha256": None}, "no text"),
        ],
    )
    def test_wrong_ones(self, tmp_path, change, reason):
        content = self.write(tmp_path) | change
        manifest_path(tmp_path / "a.rec").write_text(json.dumps(content))
        with pytest.raises(UserError, match=reason):
            read_manifest(tmp_path / "a.rec")

    @pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000, "\xff"])
    def test_no_manifest_at_all(self, tmp_path, text):
        (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(UserError, match=r"a.json should be the manifest of a.rec"):
            read_manifest(tmp_path / "a.rec")

    @pytest.mark.parametrize("text", ["[]", "null", '{"images": []}', '{"format": 7}'])
    def test_of_another_kind(self, tmp_path, text):
        """Annotations, say: they are no manifest, and not written over."""
        write_records(tmp_path / "a.rec", RECORDS)
        (tmp_path / "a.json").write_text(text)
        assert read_manifest(tmp_path / "a.rec") is None
        with pytest.raises(UserError, match=r"a.json is there, and no manifest"):
            write_records(tmp_path / "a.rec", RECORDS)
        assert (tmp_path / "a.json").read_text() == text

    @pytest.mark.parametrize(
        "key", ["count", "size", "sha256", "index_sha256", "digests", "labels", "classes", "options"]
    )
    def test_missing_keys(self, tmp_path, key):
        content = self.write(tmp_path)
        del content[key]
        manifest_path(tmp_path / "a.rec").write_text(json.dumps(content))
        with pytest.raises(UserError, match=f"'{key}' is missing"):
            read_manifest(tmp_path / "a.rec")
