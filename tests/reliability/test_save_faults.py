"""Dying or failing between any two changes of the disk that a save, or the start of a run, makes: nothing is lost."""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from openmix.engine.checkpoint import load_checkpoint, matches_manifest, read_manifest
from openmix.engine.checkpoint_folder import CheckpointFolder

DIED = 99


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """Let the next saves, which only prove that there can be one, wait for no disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


SLOW = pytest.mark.slow
# steps saved before, the best of them, and what is saved under faults: its step, whether it is best, max_keep
SCENARIOS: dict[str, tuple[list[int], int | None, int, bool, int]] = {
    "first": ([], None, 10, True, 2),
    "ordinary": ([10, 20], 10, 30, False, 5),
    "best": ([10, 20], 10, 30, True, 5),
    "rotating": ([10, 20, 30], 10, 40, False, 2),
    "best and rotating": ([10, 20, 30], 30, 40, True, 2),
    "over itself": ([10, 20, 30], 30, 30, True, 2),
}
SCENARIO_NAMES = [
    name if name in ("first", "best and rotating") else pytest.param(name, marks=SLOW) for name in SCENARIOS
]
FAULTS = ["die", pytest.param("fail", marks=SLOW), pytest.param("full", marks=SLOW)]


def content(step: int) -> dict[str, Any]:
    """A checkpoint's content whose tensor tells its step."""
    values = {"timeline": [[0, 10]], "seed": 0, "best": 0.0, "metrics": {}, "ema": None, "scaler": {}, "hooks": {}}
    values |= {"optimizer": {"state": {}, "param_groups": []}, "averages": {"count": 0, "totals": None}}
    return {**values, "step": step, "model": {"w": torch.full((300,), float(step))}}


def save(folder: Path, step: int, is_best: bool = False, max_keep: int = 2) -> None:
    CheckpointFolder(folder, max_keep).save(f"epoch_{step // 10}.pth", content(step), is_best)


def copied(source: Path, target: Path) -> Path:
    """Copy a folder with its hard links, and return the copy."""
    first: dict[int, Path] = {}
    for path in sorted(source.rglob("*")):
        copy, inode = target / path.relative_to(source), path.stat().st_ino
        if path.is_dir():
            copy.mkdir(parents=True)
        elif inode in first:
            os.link(first[inode], copy)
        else:
            copy.parent.mkdir(parents=True, exist_ok=True)
            first[inode] = Path(shutil.copy2(path, copy))
    target.mkdir(parents=True, exist_ok=True)
    return target


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path from there."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def steps(folder: Path) -> dict[str, int]:
    """The checkpoints of a folder with their steps, each verified."""
    return {path.name: load_checkpoint(path)["step"] for path in sorted(folder.glob("*.pth"))}


class Moments:
    """Calls a function once for every change of the disk that it makes, with a fault at that change."""

    def __init__(self, forks: Any, tmp_path: Path) -> None:
        self.forks, self.tmp_path = forks, tmp_path

    def __call__(
        self, name: str, before: Path, fault: str, arguments: Callable[[Path], Mapping[str, Any]]
    ) -> Iterator[tuple[Path, int, str]]:
        """Yield, for each: the folder, which was a copy of ``before``; the exit code; what was about to happen.

        Where the fault is an error, it must have been reported as one, or have done no harm.
        """
        all_changes = self.call(name, copied(before, self.tmp_path / "none"), arguments, None, fault)[1]["seen"]
        assert len(all_changes) > 2
        for moment, change in enumerate(all_changes):
            around = all_changes[max(moment - 1, 0) : moment + 2]
            if moment % 7 and len(around) == 3 and len(set(around)) == 1:
                continue  # of the many writes to one file, the first, the last and some between are enough
            folder = copied(before, self.tmp_path / str(moment))
            code, told = self.call(name, folder, arguments, moment, fault)
            if fault == "die":
                assert code == DIED
            else:
                assert code in (0, 1, 2), f"{change}: {told}"
                assert code == 0 or "No space left on device" in told["error"], f"{change}: {told}"
                assert code == 0 or str(folder) in told["error"], f"{change}: {told}"
            yield folder, code, f"{fault} at {moment}: {change}"

    def call(
        self, name: str, folder: Path, arguments: Callable[[Path], Mapping[str, Any]], moment: int | None, fault: str
    ) -> tuple[int, Any]:
        """Call it once, and return its exit code, the changes that it made, and its error."""
        options = {"watched": str(folder), "moment": moment, "fault": fault}
        started = self.forks.start("fault", name=name, arguments=arguments(folder), **options)
        code = self.forks.wait(started)[0]
        out, err = started.printed()
        assert err == "", err
        return code, json.loads(out) if code != DIED else None


@pytest.fixture
def moments(forks, tmp_path) -> Moments:
    """See :class:`Moments`."""
    return Moments(forks, tmp_path)


def resumes(folder: Path, where: str) -> int | None:
    """Return the step from which a run would go on, with one warning at most."""
    warnings: list[str] = []
    found = CheckpointFolder(folder).newest_good(warnings.append)
    assert len(warnings) <= 1, f"{where}: {warnings}"
    return None if found is None else found[1]["step"]


class TestSave:
    @pytest.mark.parametrize("fault", FAULTS)
    @pytest.mark.parametrize("scenario", SCENARIO_NAMES)
    def test_the_one_before_or_the_new_one_is_there(self, moments, tmp_path, scenario, fault):
        saved, best, step, is_best, max_keep = SCENARIOS[scenario]
        before = tmp_path / "before"
        before.mkdir()
        for old in saved:
            save(before, old, old == best, max_keep)
        arguments = {"step": step, "is_best": is_best, "max_keep": max_keep}
        seen = set()
        for folder, code, where in moments("save", before, fault, lambda folder: {"folder": str(folder), **arguments}):
            last, newest = (saved[-1] if saved else None), resumes(folder, where)
            assert newest in (last, step), where
            assert newest == step or code != 0, f"{where}: done, and not there"
            there = steps(folder)
            assert there.get("last.pth") in (last, newest), where
            assert there.get("best.pth") in ((best, newest) if is_best else (best,)), where
            assert len([name for name in there if "_" in name]) >= min(2, len(saved)), where
            seen.add(newest)
            save(folder, step + 10, max_keep=max_keep)  # and the run goes on
            there = steps(folder)
            assert there["last.pth"] == step + 10, where
            kept = {f"epoch_{number // 10}.pth" for number in (*saved, newest, step + 10) if number is not None}
            kept = {name for name in there if "_" in name} & kept
            assert len(kept) == min(max_keep, len({*saved, newest, step + 10} - {None})), where
            assert sorted(files(folder)) == sorted([*kept, "last.pth", "manifest.json", *there.keys() & {"best.pth"}])
        assert seen == {saved[-1] if saved else None, step}

    @SLOW
    def test_what_is_left_can_be_verified_again_after_the_next_save(self, moments, tmp_path):
        """A checkpoint without an entry in the manifest could be damaged and nobody would know."""
        before = tmp_path / "before"
        for old in (10, 20):
            save(before, old, old == 10)
        options = {"step": 30, "is_best": True, "max_keep": 3}
        for folder, _, where in moments("save", before, "die", lambda folder: {"folder": str(folder), **options}):
            save(folder, 40, max_keep=3)
            there = sorted(path.name for path in folder.glob("*.pth"))
            assert sorted(read_manifest(folder)) == there, where
            assert all(matches_manifest(folder / name) for name in there), where


class TestRewind:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_every_checkpoint_stays_and_the_last_loads(self, moments, tmp_path, fault):
        before = tmp_path / "before"
        before.mkdir()
        for step in (10, 20, 30, 40):
            save(before / "checkpoints", step, step in (10, 30), max_keep=5)
        (before / "aside").mkdir()
        (before / "again").mkdir()
        everything = {f"epoch_{step // 10}.pth": step for step in (10, 20, 30, 40)}

        def arguments(folder: Path) -> dict[str, Any]:
            return {"folder": str(folder / "checkpoints"), "step": 20, "aside": str(folder / "aside")}

        for folder, _, where in moments("rewind", before, fault, arguments):
            checkpoints = folder / "checkpoints"
            assert resumes(checkpoints, where) in (20, 30, 40), where
            there = steps(checkpoints)
            assert there.get("last.pth") in (20, 40), f"{where}: {there}"
            assert everything.items() <= {**there, **steps(folder / "aside")}.items(), where
            CheckpointFolder(checkpoints).rewind(20, folder / "again")
            assert steps(checkpoints)["last.pth"] == resumes(checkpoints, where) == 20, where
            assert CheckpointFolder(checkpoints).after(20) == [], where
            moved = {**steps(folder / "aside"), **steps(folder / "again")}
            assert everything.items() <= {**steps(checkpoints), **moved}.items(), where
            save(checkpoints, 30, max_keep=5)
            assert not list(checkpoints.glob(".*")), where


@pytest.fixture
def old_run(tmp_path) -> Path:
    """A work dir with an earlier run in it, and with somebody's own file."""
    work_dir = tmp_path / "before"
    work_dir.mkdir()
    for step in (10, 20, 30):
        save(work_dir / "checkpoints", step, is_best=step == 10, max_keep=5)
    (work_dir / "vis_data").mkdir()
    records = [json.dumps({"split": "train", "epoch": s // 10, "step": s}) + "\n" for s in (10, 20, 30)]
    texts = {"run.json": "{}", "config.py": "x = 1", "metrics.jsonl": "".join(records), "train.log": "a line"}
    for name, text in {**texts, "vis_data/events": "e", "notes.txt": "mine"}.items():
        (work_dir / name).write_text(text)
    return work_dir


class TestWorkDir:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_fresh_run_moves_the_old_one_and_loses_nothing_of_it(self, moments, old_run, fault):
        mine = files(old_run)
        for folder, _, where in moments("hold", old_run, fault, lambda folder: {"folder": str(folder), "step": None}):
            for _ in range(2):  # as it was left; and after the next one
                there = files(folder)
                for name, text in mine.items():
                    kept = [there[place] for place in there if re.fullmatch(rf"(earlier/\d+/)?{name}", place)]
                    assert text in kept, f"{where}: {name}"
                moments.call("hold", folder, lambda folder: {"folder": str(folder), "step": None}, None, fault)
            left = {path.name for path in folder.iterdir()} - {".lock"}
            assert left == {"notes.txt", "earlier"}, f"{where}: {left}"

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_resumed_run_keeps_what_it_continues(self, moments, old_run, fault):
        mine = files(old_run)
        for folder, _, where in moments("hold", old_run, fault, lambda folder: {"folder": str(folder), "step": 20}):
            for _ in range(2):
                there = files(folder)
                for name in ("checkpoints/epoch_1.pth", "checkpoints/epoch_2.pth", "checkpoints/best.pth"):
                    assert there[name] == mine[name], f"{where}: {name}"
                assert {v for k, v in there.items() if k.endswith("epoch_3.pth")} == {mine["checkpoints/epoch_3.pth"]}
                lines = there["metrics.jsonl"].decode().splitlines()
                assert lines[:2] == mine["metrics.jsonl"].decode().splitlines()[:2], where
                assert mine["metrics.jsonl"] in [v for k, v in there.items() if k.endswith("metrics.jsonl")], where
                moments.call("hold", folder, lambda folder: {"folder": str(folder), "step": 20}, None, fault)
            assert len(lines) == 2, where
            assert steps(folder / "checkpoints")["last.pth"] == 20
            assert not list(folder.glob(".*.tmp")), where


class TestRecords:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_metrics_are_the_old_ones_or_the_shortened_ones(self, moments, tmp_path, fault):
        before = tmp_path / "before"
        before.mkdir()
        lines = [json.dumps({"step": step, "loss": 0.1}) + "\n" for step in range(1, 9)]
        old, new = "".join(lines) + '{"step": 9, "lo', "".join(lines[:5])
        (before / "metrics.jsonl").write_text(old)
        for folder, code, where in moments(
            "keep_until", before, fault, lambda folder: {"folder": str(folder), "step": 5}
        ):
            assert (folder / "metrics.jsonl").read_text() in ((new,) if code == 0 else (old, new)), where

    @pytest.mark.parametrize("fault", FAULTS)
    def test_run_json_is_the_old_one_or_the_new_one(self, moments, tmp_path, fault):
        before, began = tmp_path / "before", {"status": "running", "start_time": time.strftime("%H:%M")}
        before.mkdir()
        (before / "run.json").write_text(json.dumps(began))
        ended = {**began, "status": "done"}
        for folder, code, where in moments(
            "replace_json", before, fault, lambda folder: {"folder": str(folder), "content": ended}
        ):
            there = json.loads((folder / "run.json").read_text())
            assert there in ((ended,) if code == 0 else (began, ended)), where
