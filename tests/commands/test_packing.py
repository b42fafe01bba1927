"""Packing again after something has changed."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from openmix.commands import run_command
from openmix.data.sources.recordio import RecordIO


def tree_of(folder: Path) -> Path:
    for i in range(6):
        path = folder / f"c{i % 2}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (12, 10, 3), np.uint8)).save(path)
    return folder


def make(*arguments) -> int:
    return run_command("rec", ["make", *map(str, arguments), "--jobs", "1", "--no-shuffle"])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
class TestPacking:
    def test_one_that_is_mended_with_as_many_bytes(self, tmp_path):
        folder = tree_of(tmp_path / "set")
        good = (folder / "c0" / "2.jpg").read_bytes()
        (folder / "c0" / "2.jpg").write_bytes(bytes(len(good)))
        assert make(folder, tmp_path / "a.rec") == 1
        (folder / "c0" / "2.jpg").write_bytes(good)
        assert make(folder, tmp_path / "a.rec") == 0
        assert len(RecordIO(str(tmp_path / "a.rec"))) == 6

    def test_the_manifests_labels_are_those_of_what_was_kept(self, tmp_path):
        folder = tree_of(tmp_path / "set")
        (folder / "c0" / "2.jpg").write_bytes(b"none")
        assert make(folder, tmp_path / "a.rec", "--skip-bad") == 0
        assert RecordIO(str(tmp_path / "a.rec")).labels.tolist() == [0, 0, 1, 1, 1]

    def test_another_size_or_label_is_another_set(self, tmp_path):
        folder = tree_of(tmp_path / "set")
        assert make(folder, tmp_path / "a.rec") == 0
        Image.new("RGB", (30, 30)).save(folder / "c0" / "2.jpg")
        assert make(folder, tmp_path / "a.rec") == 2
        for label in (0, 1):
            (tmp_path / "set.lst").write_text(f"0\t{label}\tc0/0.jpg\n")
            assert make(tmp_path / "set.lst", tmp_path / "b.rec", "--root", folder) == 2 * label
