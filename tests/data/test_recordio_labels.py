"""Which labels a set of records has: the manifest's only where it is this file's."""

from pathlib import Path

import pytest

from openmix.commands import run_command
from openmix.data.recordio import ImageHeader, RecordFile, manifest_path, pack_image, verify, write_records
from openmix.data.sources.recordio import RecordIO
from openmix.errors import UserError


def labelled(path: Path, labels, first_key=0) -> str:
    image = b"\xff\xd8\xff"
    write_records(path, [(first_key + i, pack_image(ImageHeader(0, float(x)), image)) for i, x in enumerate(labels)])
    return str(path)


def test_a_manifests_labels_count_for_its_own_index_only(tmp_path):
    known = labelled(tmp_path / "a.rec", [0, 1, 1])
    assert run_command("rec", ["index", "--manifest", known]) == 0
    other = labelled(tmp_path / "b.rec", [1, 0, 0], first_key=5)
    manifest_path(other).write_bytes(manifest_path(known).read_bytes())
    assert RecordIO(other).labels.tolist() == [1, 0, 0]


@pytest.mark.parametrize(("damaged", "opens"), [(3, True), (4, False)])
def test_one_record_in_a_hundred_may_be_damaged(tmp_path, damaged, opens):
    path = Path(labelled(tmp_path / "a.rec", [0] * 300))
    content = bytearray(path.read_bytes())
    for offset in RecordFile(path).offsets[10 : 10 + damaged]:
        content[offset] ^= 0xFF
    path.write_bytes(content)
    if opens:
        assert len(RecordIO(str(path))) == 300
    else:
        with pytest.raises(UserError, match="4 of 300 records"):
            RecordIO(str(path))


def test_an_index_with_other_keys_is_not_the_manifests(tmp_path):
    path = labelled(tmp_path / "a.rec", [0, 1])
    run_command("rec", ["index", "--manifest", path])
    (tmp_path / "a.idx").write_text((tmp_path / "a.idx").read_text().replace("1\t", "7\t", 1))
    assert ["not the index that the manifest knows" in str(damage) for damage in verify(path).damages] == [True]
