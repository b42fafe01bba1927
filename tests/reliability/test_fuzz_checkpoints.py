"""Checkpoints as no training writes them, thousands of them: each is passed over or refused, or is as good as another.

Every case begins with the work dir of a run that was stopped with two checkpoints in it. One of them, or all, are
mutated; the manifest knows nothing of that, or fits, or is gone or damaged itself; then a command is to read them.
"""

import contextlib
import hashlib
import io
import json
import os
import resource
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from openmix.commands import run_command
from openmix.engine.checkpoint_folder import CheckpointFolder
from tests.reliability.mutated_bytes import BYTES, mutate_manifest, with_code_of
from tests.reliability.mutated_content import calls, dumped, mutate_content

SECONDS, GROWTH = 10, 2 << 30
NEWEST, OLDER = "iter_6.pth", "epoch_1.pth"

# epochs of 4 steps, a checkpoint every 2, stopped after step 6 of 8
SMALL: dict[str, Any] = {
    "train_dataloader": {"batch_size": 4, "dataset": {"type": "Synthetic", "num_classes": 10,
                         "image_shape": [1, 8, 8], "length": 16}, "pipeline": []},
    "val_dataloader": {"dataset": {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 8}},
    "model": {"backbone": {"type": "ConvNet", "widths": [2], "in_channels": 1}},
    "default_hooks": {"logger": {"interval": 4}, "checkpoint": {"interval": 2, "by_epoch": False}},
}  # fmt: skip
ORIGINS: dict[str, dict[str, Any]] = {
    "plain": {},
    "averaged": {
        "train_dataloader": {"batch_size": 2},
        "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 0.01}, "accumulative_counts": 2},
        "param_scheduler": [{"type": "CosineAnnealingLR", "by_epoch": False}],
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.3}],
    },
}


@dataclass(frozen=True)
class Origin:
    """A config, the work dir of its whole run, and that of one which was stopped."""

    config: str
    whole: Path
    stopped: Path


@pytest.fixture(scope="module", autouse=True)
def unsynced() -> Iterator[None]:
    """Wait for no disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def origins(lab, tmp_path_factory) -> dict[str, Origin]:
    """The runs that cases begin with."""
    made = {}
    for name, changes in ORIGINS.items():
        folder = tmp_path_factory.mktemp(name)
        cfg = {key: {**SMALL.get(key, {}), **changes.get(key, {})} if isinstance(SMALL.get(key), dict)
               else changes[key] for key in SMALL | changes}  # fmt: skip
        path = lab.write(folder, **cfg)
        lab.train(path, folder / "whole")
        lab.train(path, folder / "stopped", stop_after=6)
        made[name] = Origin(path, folder / "whole", folder / "stopped")
    return made


@dataclass(frozen=True)
class Case:
    """What is to be done; numbers count whatever there is to choose from."""

    origin: str
    family: str
    how: str
    target: str
    manifest: str
    command: str
    at: int
    extent: int
    value: int
    way: tuple[int, ...]


FAMILIES = {
    "bytes": tuple(BYTES),
    "content": ("altered", "replaced", "replaced", "deleted", "duplicated", "wrapped", "rekeyed", "texts"),
    "code": ("the file", "the pickle in it"),
    "manifest alone": ("mutated",),
}
COMMANDS = ("resume", "resume", "resume", "resume that", "resume that", "test", "load_from", "ls", "verify", "export")


def drawn(random: Random) -> Case:
    """Draw a case; content is what there is most to say of."""
    family = random.choice(["bytes"] * 3 + ["content"] * 4 + ["code", "manifest alone"])
    return Case(
        random.choice(sorted(ORIGINS)),
        family,
        random.choice(FAMILIES[family]),
        random.choice(["newest", "newest", "newest", "all", "older"]),
        random.choice(["kept", "fits", "fits", "gone", "mutated"]),
        random.choice(COMMANDS),
        *(random.randrange(1 << 24) for _ in range(3)),
        tuple(random.randrange(1 << 24) for _ in range(random.randrange(1, 7))),
    )


def mutated(data: bytes, case: Case, canary: Path) -> bytes:
    """Return other bytes for a checkpoint."""
    if case.family == "bytes":
        return BYTES[case.how](data, case.at, case.extent, case.value)
    if case.family == "content":
        state = torch.load(io.BytesIO(data), weights_only=True)
        return dumped(mutate_content(state, case.way, case.how, case.value, canary))
    if case.family == "code":
        attacks = calls(canary)
        attack = dumped(attacks[case.value % len(attacks)])
        if case.how == "the file":
            return attack
        return with_code_of(attack, data)
    return data


def snapshot(folder: Path) -> dict[str, str]:
    """Every file below a folder, and what it is."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
        for path in sorted(folder.rglob("*"))
    }


class Trial:
    """A work dir in which a case happens, and what is seen of it."""

    def __init__(self, case: Case, origin: Origin, folder: Path) -> None:
        self.case, self.origin = case, origin
        self.run, self.canary, self.other = folder / "run", folder / "CANARY", folder / "other"
        self.checkpoints = self.run / "checkpoints"
        shutil.copytree(origin.stopped, self.run)
        self._link_again()
        self.path = self.checkpoints / (OLDER if case.target == "older" else NEWEST)
        self.changed = self._mutate()
        self._change_manifest()

    def _link_again(self) -> None:
        """Let files that were one be one."""
        for name, alias in ((NEWEST, "last.pth"), (OLDER, "best.pth")):
            if (self.checkpoints / name).read_bytes() == (self.checkpoints / alias).read_bytes():
                (self.checkpoints / alias).unlink()
                (self.checkpoints / alias).hardlink_to(self.checkpoints / name)

    def _mutate(self) -> bool:
        """Change the bytes of what the case is about, and tell whether they are others now."""
        paths = [self.path] if self.case.target != "all" else sorted(self.checkpoints.glob("*.pth"))
        done: set[int] = set()
        changed = False
        for path in paths:
            if path.stat().st_ino not in done:
                done.add(path.stat().st_ino)
                before = path.read_bytes()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of tensors that are out of fashion
                    after = mutated(before, self.case, self.canary)
                changed |= after != before
                with open(path, "r+b") as file:  # in its place: its other name is the same file
                    file.truncate(0)
                    file.write(after)
        return changed

    def _change_manifest(self) -> None:
        manifest = self.checkpoints / "manifest.json"
        if self.case.manifest == "fits":
            entries = json.loads(manifest.read_text())
            for name, entry in entries.items():
                data = (self.checkpoints / name).read_bytes()
                entry |= {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            manifest.write_text(json.dumps(entries))
        elif self.case.manifest == "gone":
            manifest.unlink()
        elif self.case.manifest == "mutated":
            text = mutate_manifest(manifest.read_text(), self.case.value)
            manifest.unlink()
            manifest.mkdir() if text is None else manifest.write_bytes(text)

    def argv(self) -> list[str]:
        """The command line."""
        path, config = str(self.path), self.origin.config
        train = ["train", config, "--work-dir", str(self.run), "--resume"]
        return {
            "resume": train,
            "resume that": [*train, path],
            "test": ["test", config, path],
            "load_from": ["train", config, "--work-dir", str(self.other), "--cfg-options", f"load_from={path}"],
            "ls": ["ckpt", "ls", str(self.run)],
            "verify": ["ckpt", "verify", path],
            "export": ["ckpt", "export", path, str(self.other) + ".safetensors"],
        }[self.case.command]

    def __call__(self) -> tuple[int, str]:
        """Do it, and return the exit code and what was said on stderr."""
        self.before = snapshot(self.run)
        self.logged = (self.run / "train.log").read_text()
        out, err = io.StringIO(), io.StringIO()
        began, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            command, *arguments = self.argv()
            code = run_command(command, arguments)
        assert time.monotonic() - began < SECONDS, "it must not hang"
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) << 10 < GROWTH, "it must not fill memory"
        assert "Traceback" not in out.getvalue() + err.getvalue()
        return code, err.getvalue()

    def log(self) -> str:
        """What the run wrote into its log."""
        return (self.run / "train.log").read_text().removeprefix(self.logged)

    def warnings(self) -> list[str]:
        """Warnings among it."""
        return [line for line in self.log().splitlines() if " WARNING " in line]

    def unreadable(self) -> bool:
        """Whether the newest checkpoint, as it was before the command, cannot even be said to be of an earlier step."""
        case = self.case
        outside = case.family == "code" or (
            case.family == "bytes" and case.how in ("foreign", "bomb", "packed", "cut off")
        )
        outside = outside and case.manifest != "mutated"  # which may say that it is an earlier one
        return self.changed and outside and case.target == "newest" and case.command == "resume"


def judge(trial: Trial, lab: Any) -> str:
    """Assert that all went as it must, and return how it ended."""
    case = trial.case
    code, said = trial()
    assert not trial.canary.exists(), "code was run"
    wrote = case.command in ("resume", "resume that") and code != 2
    assert code in (0, 2) or (code == 1 and "finite" in said), said
    if not wrote:
        assert snapshot(trial.run) == trial.before, "what is refused, or read, is left alone"
    if code == 2:
        assert said.startswith("error: ") and said[:-1].replace("\n", " ").isprintable(), said
        assert not trial.other.exists()
    else:
        assert said.count("\n") <= 1, said
    noticed = trial.changed and case.manifest == "kept"
    if case.command == "ls":
        assert code == 0
    elif case.command != "resume":
        assert not noticed or code == 2, "the manifest said otherwise"
        assert not noticed or case.command == "verify" or str(trial.path) in said, said
    elif noticed and case.target == "all":
        assert code == 2 and NEWEST in said and OLDER in said, said
    elif noticed or not trial.changed:
        assert code == 0, said
        lab.assert_same_run(trial.origin.whole, trial.run)
        worse = noticed and case.target == "newest"
        warned = [line for line in trial.warnings() if worse or case.manifest == "kept"]
        assert len(warned) == worse and all(NEWEST in line for line in warned), warned
    if wrote and trial.unreadable() and "resuming after step 4" in trial.log():
        assert any(NEWEST in line for line in trial.warnings()), "what is passed over is named"
    if wrote:
        assert CheckpointFolder(trial.checkpoints).newest_good(lambda _: None), "there is one to go on from"
    passed_over = wrote and code == 0 and len(trial.warnings()) > 0
    return "passed over" if passed_over else {0: "taken", 1: "no number", 2: "refused"}[code]


def fuzz(count: int, lab: Any, origins: dict[str, Origin], folder: Path) -> Counter[tuple[str, ...]]:
    """Try so many cases, and return how many ended how."""
    ends: Counter[tuple[str, ...]] = Counter()

    @settings(
        max_examples=count, derandomize=True, database=None, deadline=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=True).map(drawn))
    def one(case: Case) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        end = judge(Trial(case, origins[case.origin], folder), lab)
        ends[case.family, case.manifest, case.command, end] += 1

    one()
    return ends


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_mutated_checkpoints(lab, origins, tmp_path, count):
    ends = fuzz(count, lab, origins, tmp_path / "case")
    how = Counter(end for *_, end in ends.elements())
    assert sum(how.values()) >= count * 0.9
    assert all(how[end] > count / 20 for end in ("taken", "passed over", "refused")), how
