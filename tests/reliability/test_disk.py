"""Disks that are full, read-only or gone: one clear message, and nothing is lost."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openmix.engine.checkpoint import load_checkpoint, matches_manifest
from openmix.engine.checkpoint_folder import CheckpointFolder


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
