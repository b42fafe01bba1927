"""Disks that are full, read-only or gone, and checkpoints that are damaged: one clear message, and nothing is lost."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openmix.engine.checkpoint import CheckpointFolder, load_checkpoint, matches_manifest
from openmix.errors import UserError


@pytest.fixture
def mount(tmp_path) -> Iterator[Callable[[int], Path]]:
    """Mount a file system of so many KiB in memory; unmounted in the end."""
    mounted: list[Path] = []

    def mount(kib: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        try:
            command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no mount command")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"a file system cannot be mounted here: {error.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def write_config(lab: Any, folder: Path, *hooks: dict[str, Any]) -> str:
    """Write a config of 12 steps with a checkpoint of half a MiB every 3, and a user's hooks."""
    return lab.write(
        folder,
        model={"backbone": {"type": "ConvNet", "widths": [32, 64], "in_channels": 1}},
        default_hooks={"checkpoint": {"interval": 3, "by_epoch": False}, "logger": {"interval": 4}},
        custom_hooks=list(hooks),
        custom_imports={"imports": ["phases"], "allow_failed_imports": False},
    )


def one_message(printed: str, *parts: Any) -> None:
    """Assert that what was printed to stderr is one line, an error that names these things."""
    assert printed.startswith("error: "), printed
    assert len(printed.splitlines()) == 1, printed
    assert all(str(part) in printed for part in parts), printed


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder, with its time and bytes."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in sorted(folder.rglob("*"))}


class TestFull:
    """A disk that fills up while a run goes on."""

    # what fills it when; the file that cannot be written then; the step of the newest checkpoint that is left
    CASES = (
        pytest.param({"step": 6, "at_save": True, "leave": 300_000}, "epoch_1.pth", 3, id="in the middle of a save"),
        pytest.param({"step": 9, "at_save": True, "leave": 0}, "", 6, id="at the beginning of a save"),
        pytest.param({"step": 4, "pad": "train.log"}, "metrics.jsonl", 3, id="at a record"),
    )

    @pytest.mark.parametrize(("harm", "file", "left"), CASES)
    def test_the_run_ends_with_a_message_and_goes_on_when_there_is_space(
        self, forks, lab, mount, tmp_path, harm, file, left
    ):
        disk, armed = mount(8 << 10), tmp_path / "armed"
        path = write_config(lab, tmp_path, {"type": "FillDisk", "armed": str(armed), **harm})
        armed.touch()
        code, out, err = forks.train(path, "--work-dir", disk / "run")
        assert not armed.exists()
        assert "Traceback" not in out + err, err
        assert "Logging error" not in out + err
        assert code == 1
        one_message(err, disk / "run", file, "No space left on device")
        checkpoints = disk / "run" / "checkpoints"
        assert CheckpointFolder(checkpoints).newest_good(pytest.fail)[1]["step"] == left
        assert all(matches_manifest(checkpoint) for checkpoint in checkpoints.glob("*.pth"))
        assert load_checkpoint(checkpoints / "last.pth")["step"] == left
        (disk / "ballast").unlink()
        code, out, err = forks.train(path, "--work-dir", disk / "run", "--resume")
        assert (code, err) == (0, "")
        assert f"resuming after step {left}" in out
        assert forks.train(path, "--work-dir", tmp_path / "whole")[0] == 0
        lab.assert_same_run(tmp_path / "whole", disk / "run")
        assert not list((disk / "run").rglob("*.tmp"))

    def test_a_line_of_the_log_is_no_reason_to_end(self, forks, lab, mount, tmp_path):
        """That it goes nowhere is said once; what ends the run is the checkpoint that cannot be saved."""
        disk, armed = mount(8 << 10), tmp_path / "armed"
        path = write_config(lab, tmp_path, {"type": "FillDisk", "armed": str(armed), "step": 8, "pad": "train.log"})
        armed.touch()
        code, out, err = forks.train(path, "--work-dir", disk / "run")
        assert "Traceback" not in out + err and "Logging error" not in out + err, err
        assert code == 1
        of_the_log, of_the_save = err.splitlines()
        assert of_the_log.startswith(f"cannot write {disk}/run/train.log: "), err
        assert "No space left on device" in of_the_log
        one_message(of_the_save, disk / "run" / "checkpoints" / "iter_9.pth", "No space left on device")
        assert lab.records(disk / "run")[-1]["step"] == 8
        (disk / "ballast").unlink()
        assert forks.train(path, "--work-dir", disk / "run", "--resume")[0] == 0
        assert forks.train(path, "--work-dir", tmp_path / "whole")[0] == 0
        lab.assert_same_run(tmp_path / "whole", disk / "run")

    def test_no_process_of_two_goes_on(self, forks, lab, mount, tmp_path):
        """Rank 0 alone writes; the other one must not wait for it."""
        disk, armed = mount(8 << 10), tmp_path / "armed"
        harm = {"type": "FillDisk", "armed": str(armed), "step": 3, "at_save": True, "leave": 300_000}
        path = write_config(lab, tmp_path, harm)
        armed.touch()
        started = forks.start_training([path, "--work-dir", disk / "run"], ranks=2)
        codes = forks.wait(started)
        assert codes[0] == 1 and codes[1] not in (0, 2, 75), codes
        one_message(started.printed(0)[1], disk / "run", "epoch_1.pth", "No space left on device")


class TestFromTheStart:
    """What is wrong with a place is found before the first step, and nothing is left in it."""

    @pytest.mark.parametrize("kib", [16, 256])
    def test_a_disk_smaller_than_a_checkpoint(self, forks, lab, mount, tmp_path, kib):
        disk = mount(kib)
        code, out, err = forks.train(write_config(lab, tmp_path), "--work-dir", disk / "run")
        assert code == 2, out + err
        one_message(err, disk / "run", "--work-dir")
        assert "step" not in out, "it has begun to train"
        assert {path.name for path in disk.rglob("*") if path.is_file()} <= {".lock"}

    def test_a_read_only_disk(self, forks, lab, mount, tmp_path):
        disk = mount(8 << 10)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, _, err = forks.train(write_config(lab, tmp_path), "--work-dir", disk / "run")
        assert code == 2
        one_message(err, disk / "run", "Read-only file system")
        assert not list(disk.iterdir())

    def test_a_run_on_a_disk_that_has_become_read_only(self, forks, lab, mount, tmp_path):
        disk, path = mount(8 << 10), write_config(lab, tmp_path)
        assert forks.train(path, "--work-dir", disk / "run")[0] == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for resume in ([], ["--resume"]):
            code, _, err = forks.train(path, "--work-dir", disk / "run", *resume)
            assert code == 2
            one_message(err, disk / "run", "Read-only file system")

    @pytest.mark.parametrize("resume", [False, True])
    @pytest.mark.parametrize("place", ["file", "file/run"])
    def test_a_file_where_a_folder_should_be(self, forks, lab, tmp_path, place, resume):
        (tmp_path / "file").write_text("mine")
        options = ["--resume"] if resume else []
        code, _, err = forks.train(write_config(lab, tmp_path), "--work-dir", tmp_path / place, *options)
        assert code == 2
        one_message(err, tmp_path / place)
        assert (tmp_path / "file").read_text() == "mine"

    def test_missing_parents_are_made(self, forks, lab, tmp_path):
        work_dir = tmp_path / "a" / "b" / "run"
        assert forks.train(lab.write(tmp_path), "--work-dir", work_dir)[0] == 0
        assert lab.state(work_dir)["step"] == 12

    def test_a_missing_data_set(self, forks, lab, tmp_path):
        data = {"type": "ImageFolder", "data_root": str(tmp_path / "nowhere")}
        path = lab.write(tmp_path, train_dataloader={"dataset": data})
        code, _, err = forks.train(path, "--work-dir", tmp_path / "run")
        assert code == 2
        one_message(err, tmp_path / "nowhere")
        assert not (tmp_path / "run").exists()


class TestVanished:
    """Somebody removes the work dir of a run."""

    @pytest.mark.parametrize("when", [{"step": 4}, {"step": 6, "at_save": True}])
    def test_the_run_ends_with_a_message(self, forks, lab, tmp_path, when):
        armed = tmp_path / "armed"
        path = write_config(lab, tmp_path, {"type": "RemoveWorkDir", "armed": str(armed), **when})
        armed.touch()
        code, out, err = forks.train(path, "--work-dir", tmp_path / "run")
        assert not armed.exists()
        assert "Traceback" not in out + err, err
        assert "Logging error" not in out + err
        assert code == 1
        one_message(err, tmp_path / "run")


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
