"""The newest checkpoint damaged, or every one: the one before is used, or the run refuses to start."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openmix.errors import UserError


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder, with its time and bytes."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in sorted(folder.rglob("*"))}


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def become_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_text("inside")


DAMAGE: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "bit-flipped": flip_a_bit,
    "emptied": lambda path: path.write_bytes(b""),
    "a folder": become_a_folder,
    "removed": lambda path: path.unlink(),
}


@pytest.fixture(scope="module")
def stopped(lab, tmp_path_factory) -> tuple[str, Path, Path]:
    """A config; the work dir of its whole run; and that of one which was stopped after step 9 of 12."""
    folder = tmp_path_factory.mktemp("stopped")
    path = lab.write(folder, default_hooks={"checkpoint": {"interval": 3, "by_epoch": False}})
    lab.train(path, folder / "whole")
    lab.train(path, folder / "run", stop_after=9)
    return path, folder / "whole", folder / "run"


def damage(checkpoints: Path, names: list[str], how: str) -> None:
    """Damage these files; those that were one file with hard links stay one, unless they become folders."""
    done = set[int]()
    for path in (checkpoints / name for name in names):
        inode = path.stat().st_ino
        if inode not in done or how in ("a folder", "removed"):
            DAMAGE[how](path)
            done.add(inode)


class TestDamage:
    @pytest.mark.parametrize("how", DAMAGE)
    def test_newest_damaged_leads_to_the_one_before_with_one_warning(self, lab, stopped, tmp_path, how):
        path, whole, run = stopped
        copy = shutil.copytree(run, tmp_path / "run")
        damage(copy / "checkpoints", ["iter_9.pth", "last.pth"], how)
        if how not in ("a folder", "removed"):  # as they were, one file
            (copy / "checkpoints" / "last.pth").unlink()
            (copy / "checkpoints" / "last.pth").hardlink_to(copy / "checkpoints" / "iter_9.pth")
        assert lab.train(path, copy, resume=True) is not None
        log = (copy / "train.log").read_text()
        assert "resuming after step 6" in log
        # as folders they are two things that are wrong
        assert log.count("WARNING") == (2 if how == "a folder" else 1), log
        assert any("iter_9.pth" in line for line in log.splitlines() if "WARNING" in line)
        lab.assert_same_run(whole, copy)

    @pytest.mark.parametrize("how", DAMAGE)
    def test_the_copy_of_the_newest_is_as_good(self, lab, stopped, tmp_path, how):
        """Where last.pth is not the same file, by a file system without hard links, no step is lost."""
        path, whole, run = stopped
        copy = shutil.copytree(run, tmp_path / "run")
        damage(copy / "checkpoints", ["iter_9.pth"], how)
        assert lab.train(path, copy, resume=True) is not None
        log = (copy / "train.log").read_text()
        assert "resuming after step 9" in log
        assert log.count("WARNING") <= 1, log
        lab.assert_same_run(whole, copy)

    @pytest.mark.parametrize("how", [how for how in DAMAGE if how != "removed"])
    def test_all_damaged_is_an_error_that_names_each_and_changes_nothing(self, lab, stopped, tmp_path, how):
        path, _, run = stopped
        copy = shutil.copytree(run, tmp_path / "run")
        names = sorted(file.name for file in (copy / "checkpoints").glob("*.pth"))
        assert len(names) >= 3
        damage(copy / "checkpoints", names, how)
        before = snapshot(copy)
        with pytest.raises(UserError) as error:
            lab.train(path, copy, resume=True)
        assert all(name in str(error.value) for name in names)
        assert snapshot(copy) == before

    def test_all_removed_is_a_run_from_the_start_that_keeps_what_else_there_was(self, lab, stopped, tmp_path):
        path, whole, run = stopped
        copy = shutil.copytree(run, tmp_path / "run")
        for file in (copy / "checkpoints").glob("*.pth"):
            file.unlink()
        assert lab.train(path, copy, resume=True) is not None
        lab.assert_same_run(whole, copy)
        for name in ("metrics.jsonl", "train.log", "run.json", "checkpoints/manifest.json"):
            assert (copy / "earlier" / "1" / name).read_bytes() == (run / name).read_bytes()
