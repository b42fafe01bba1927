"""Checkpoints: whole or not at all, verified, plain data; and what is kept."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from openmix.engine.checkpoint import load_checkpoint, read_manifest
from openmix.engine.checkpoint_folder import CheckpointFolder
from openmix.engine.ema import EMAHook
from openmix.engine.files import write_atomically
from openmix.errors import UserError


def content(step: int, **others: Any) -> dict[str, Any]:
    """A checkpoint's content whose tensor tells its step."""
    values = {"timeline": [[0, 10]], "seed": 0, "best": 0.0, "metrics": {}, "ema": None, "scaler": {}, "hooks": {}}
    values |= {"optimizer": {"state": {}, "param_groups": []}, "averages": {"count": 0, "totals": None}}
    return {**values, "step": step, "model": {"w": torch.full((300,), float(step))}, **others}


def flip_a_bit(path: Path) -> None:
    """Damage one byte in the middle, where the tensors are, and nothing else."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.fixture
def folder(tmp_path) -> CheckpointFolder:
    """Three checkpoints saved, of which two are kept; the first was the best."""
    folder = CheckpointFolder(tmp_path / "checkpoints")
    for epoch in (1, 2, 3):
        folder.save(f"epoch_{epoch}.pth", content(epoch * 10), is_best=epoch == 1)
    return folder


def names(folder: CheckpointFolder) -> list[str]:
    return sorted(p.name for p in folder.folder.iterdir())


class TestSaving:
    def test_newest_and_best_are_kept(self, folder):
        assert names(folder) == ["best.pth", "epoch_2.pth", "epoch_3.pth", "last.pth", "manifest.json"]
        steps = {name: load_checkpoint(folder.folder / name)["step"] for name in names(folder) if name.endswith("pth")}
        assert steps == {"best.pth": 10, "epoch_2.pth": 20, "epoch_3.pth": 30, "last.pth": 30}
        manifest = json.loads((folder.folder / "manifest.json").read_text())
        assert {name: entry["step"] for name, entry in manifest.items()} == steps

    def test_best_survives_any_number_of_others_and_moves_on(self, folder):
        for step in range(31, 40):
            folder.save(f"iter_{step}.pth", content(step))
        assert load_checkpoint(folder.folder / "best.pth")["step"] == 10
        folder.save("iter_40.pth", content(40), is_best=True)
        assert load_checkpoint(folder.folder / "best.pth")["step"] == 40

    @pytest.mark.parametrize("max_keep", [2, 3, 5])
    def test_keeps_as_many_of_the_newest_by_step(self, tmp_path, max_keep):
        folder = CheckpointFolder(tmp_path, max_keep)
        for step, name in ((6, "epoch_1"), (8, "iter_8"), (12, "epoch_2"), (100, "iter_100"), (120, "epoch_20")):
            folder.save(f"{name}.pth", content(step))
        by_step = ["epoch_20.pth", "iter_100.pth", "epoch_2.pth", "iter_8.pth", "epoch_1.pth"]
        assert sorted(by_step[:max_keep]) == sorted(n for n in names(folder) if "_" in n)

    def test_leftovers_of_a_kill_are_removed(self, folder):
        (folder.folder / ".epoch_4.pth.123.tmp").write_bytes(b"half")
        folder.save("epoch_4.pth", content(40))
        assert not list(folder.folder.glob(".*"))

    def test_without_hard_links_copies_are_made(self, tmp_path, monkeypatch):
        def no_link(*_: Any) -> None:
            raise OSError("not supported")

        monkeypatch.setattr(os, "link", no_link)
        folder = CheckpointFolder(tmp_path)
        folder.save("epoch_1.pth", content(1), is_best=True)
        assert {p.stat().st_nlink for p in tmp_path.glob("*.pth")} == {1}
        assert load_checkpoint(tmp_path / "best.pth")["step"] == load_checkpoint(tmp_path / "last.pth")["step"] == 1

    def test_what_could_not_be_loaded_again_is_not_saved(self, folder):
        with pytest.raises(UserError, match="not plain data"):
            folder.save("epoch_4.pth", content(40, hooks={"H": {"place": Path("x")}}))
        assert load_checkpoint(folder.folder / "last.pth")["step"] == 30
        assert "epoch_4.pth" not in names(folder)


class Killed(BaseException):
    """Stands for the end of the process."""


def count_calls(monkeypatch: pytest.MonkeyPatch, stop_at: int | None) -> list[str]:
    """Let the process end just before its ``stop_at``-th change of the disk."""
    calls: list[str] = []
    for owner, name in [(os, "replace"), (os, "link"), (os, "fsync"), (Path, "unlink"), (torch, "save")]:
        original = getattr(owner, name)

        def wrapped(*args: Any, _original: Any = original, _name: str = name, **kwargs: Any) -> Any:
            if len(calls) == stop_at:
                raise Killed
            calls.append(_name)
            return _original(*args, **kwargs)

        monkeypatch.setattr(owner, name, wrapped)
    return calls


def test_a_kill_at_any_moment_of_a_save_loses_nothing(tmp_path, monkeypatch):
    """Between each two changes of the disk: last.pth and best.pth load, and so does what is to be resumed."""
    with monkeypatch.context() as patch:
        calls = count_calls(patch, None)
        folder = CheckpointFolder(tmp_path / "count")
        for epoch in (1, 2, 3):
            begin = len(calls)
            folder.save(f"epoch_{epoch}.pth", content(epoch), is_best=True)
    total = len(calls) - begin
    assert total > 12
    assert {"replace", "link", "fsync", "unlink", "save"} == set(calls[begin:])
    seen = set()
    for moment in range(total):
        folder = CheckpointFolder(tmp_path / str(moment))
        for epoch in (1, 2):
            folder.save(f"epoch_{epoch}.pth", content(epoch), is_best=True)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            count_calls(patch, moment)
            folder.save("epoch_3.pth", content(3), is_best=True)
        warnings: list[str] = []
        found = folder.newest_good(warnings.append)
        assert found is not None
        assert warnings == []
        steps = [load_checkpoint(folder.folder / n)["step"] for n in ("last.pth", "best.pth")] + [found[1]["step"]]
        assert all(step in (2, 3) for step in steps), f"after {calls[begin + moment - 1]}"
        assert steps[2] >= steps[0] >= steps[1]
        seen.update(steps)
        folder.save("epoch_3.pth", content(3))  # and the run goes on
        assert load_checkpoint(folder.folder / "last.pth")["step"] == 3
    assert seen == {2, 3}


def test_bytes_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    order: list[str] = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, _o=original, _n=name: (order.append(_n), _o(*a))[1])
    write_atomically(tmp_path / "x", lambda beside: beside.write_text("x"))
    assert order == ["fsync", "replace", "fsync"]  # the file, its name, the folder that holds the name


class TestDamage:
    @pytest.mark.parametrize("damage", [flip_a_bit, truncate, lambda p: p.write_bytes(b"")])
    def test_newest_damaged_leads_to_the_one_before_with_one_warning(self, folder, damage):
        damage(folder.folder / "epoch_3.pth")
        warnings: list[str] = []
        path, state = folder.newest_good(warnings.append)
        assert (path.name, state["step"]) == ("epoch_2.pth", 20)
        assert len(warnings) == 1
        assert "epoch_3.pth" in warnings[0]

    def test_all_damaged_is_an_error_that_names_each(self, folder):
        for path in folder.folder.glob("*.pth"):
            path.unlink()  # they share their bytes
            path.write_bytes(b"damaged")
        with pytest.raises(UserError) as error:
            folder.newest_good(lambda _: None)
        assert all(name in str(error.value) for name in ("epoch_3.pth", "epoch_2.pth", "last.pth", "best.pth"))

    def test_nothing_there_is_none(self, tmp_path):
        assert CheckpointFolder(tmp_path / "nowhere").newest_good(pytest.fail) is None

    def test_only_the_last_is_left(self, folder):
        for name in ("epoch_2.pth", "epoch_3.pth"):
            (folder.folder / name).unlink()
        path, state = folder.newest_good(pytest.fail)
        assert (path.name, state["step"]) == ("last.pth", 30)

    @pytest.mark.parametrize("text", ["", "[]", "{", '{"epoch_3.pth": 1}', '{"epoch_3.pth": {"step": 1}}', "\x00"])
    def test_damaged_manifest_verifies_nothing_and_breaks_nothing(self, folder, text):
        (folder.folder / "manifest.json").write_text(text)
        path, _ = folder.newest_good(pytest.fail)
        assert path.name in ("epoch_2.pth", "epoch_3.pth", "last.pth")  # without it, age is the file's
        folder.save("epoch_4.pth", content(40))
        assert folder.newest_good(pytest.fail)[1]["step"] == 40

    def test_a_flipped_bit_is_found_with_a_manifest_and_without(self, folder):
        """By SHA-256, or by the sums in the file, which torch does not look at: it loads the file."""
        path = folder.folder / "last.pth"
        flip_a_bit(path)
        assert not torch.equal(torch.load(path, weights_only=True)["model"]["w"], torch.full((300,), 30.0)), (
            "the test must damage a tensor"
        )
        with pytest.raises(UserError, match=r"last\.pth is damaged: its size or SHA-256"):
            load_checkpoint(path)
        (folder.folder / "manifest.json").unlink()
        with pytest.raises(UserError, match=r"last\.pth is damaged: its CRC-32 sums differ"):
            load_checkpoint(path)
        folder.save("epoch_4.pth", content(40))
        assert "epoch_3.pth" not in read_manifest(folder.folder), "what is damaged is not certified"

    def test_without_manifest_a_truncated_file_is_found_by_torch(self, folder, tmp_path):
        alone = shutil.copy(folder.folder / "last.pth", tmp_path / "alone.pth")
        truncate(Path(alone))
        with pytest.raises(UserError, match=r"alone\.pth is damaged, or not a file of tensors"):
            load_checkpoint(alone)


class TestForeign:
    def test_missing_file_names_those_that_are_there(self, folder):
        with pytest.raises(UserError, match=r"no checkpoint .*epoch_9\.pth; .* holds: best\.pth, epoch_2\.pth"):
            load_checkpoint(folder.folder / "epoch_9.pth")

    @pytest.mark.parametrize(
        "state",
        [{"state_dict": {}}, [1], torch.zeros(2), {"format": "other", "version": 1}],
    )
    def test_another_programs_file(self, tmp_path, state):
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(UserError, match="was not written by openmix"):
            load_checkpoint(tmp_path / "x.pth")

    def test_newer_format(self, tmp_path):
        torch.save({"format": "openmix", "version": 3, **content(1)}, tmp_path / "x.pth")
        with pytest.raises(UserError, match=r"another openmix \(format 3, this one reads 2\)"):
            load_checkpoint(tmp_path / "x.pth")

    def test_incomplete(self, tmp_path):
        torch.save({"format": "openmix", "version": 2, "model": {}}, tmp_path / "x.pth")
        with pytest.raises(UserError, match="incomplete: it lacks averages, best, ema"):
            load_checkpoint(tmp_path / "x.pth")

    @pytest.mark.parametrize("legacy", [False, True], ids=["zip", "plain pickle"])
    def test_malicious_pickle_is_refused_and_not_executed(self, tmp_path, legacy):
        class Attack:
            def __reduce__(self) -> Any:
                return os.system, (f"touch {tmp_path / 'executed'}",)

        path = tmp_path / "x.pth"
        state = {"format": "openmix", "version": 2, **content(1), "hooks": Attack()}
        if legacy:
            path.write_bytes(pickle.dumps(state))
        else:
            torch.save(state, path)
        with pytest.raises(UserError, match="damaged, or not a file of tensors"):
            load_checkpoint(path)
        assert not (tmp_path / "executed").exists()
        pickle.loads(pickle.dumps(Attack()))
        assert (tmp_path / "executed").exists(), "the attack must be one"


class TestInARun:
    def test_text_in_a_checkpoint_is_not_executed(self, lab, tmp_path):
        """mmengine's resume runs the config that it finds in a checkpoint; here it is text."""
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "run", stop_after=3)
        last = tmp_path / "run" / "checkpoints" / "iter_3.pth"
        state = torch.load(last, weights_only=True)
        assert "max_epochs" in state["config"]
        attack = f"import os\nos.system('touch {tmp_path / 'executed'}')\n"
        evil = tmp_path / "evil.pth"
        torch.save({**state, "config": attack, "cfg": attack, "meta": {"config": attack, "cfg": attack}}, evil)
        assert lab.train(path, tmp_path / "run", resume=str(evil)) is not None
        assert not (tmp_path / "executed").exists()

    @pytest.mark.parametrize("part", ["model", "ema"])
    def test_weights_that_are_no_numbers_are_not_trained_on(self, lab, tmp_path, part):
        path = lab.write(tmp_path, custom_hooks=[{"type": "EMAHook", "momentum": 0.3}])
        lab.train(path, tmp_path / "run", stop_after=3)
        state = torch.load(tmp_path / "run" / "checkpoints" / "iter_3.pth", weights_only=True)
        next(value for key, value in state[part].items() if key.endswith("head.fc.bias"))[3] = float("nan")
        torch.save(state, tmp_path / "nan.pth")
        with pytest.raises(UserError, match=r"head\.fc\.bias \(not all finite\)"):
            lab.train(path, tmp_path / "run", resume=str(tmp_path / "nan.pth"))

    def test_a_hook_that_cannot_take_its_state_is_one_message(self, lab, tmp_path, monkeypatch):
        path = lab.write(tmp_path, custom_hooks=[{"type": "EMAHook", "momentum": 0.3}])
        monkeypatch.setattr(EMAHook, "state_dict", lambda self: {"a": 1}, raising=False)
        monkeypatch.setattr(EMAHook, "load_state_dict", lambda self, state: state["b"], raising=False)
        lab.train(path, tmp_path / "run", stop_after=3)
        with pytest.raises(UserError, match="a hook cannot take the state in the checkpoint: KeyError: 'b'"):
            lab.train(path, tmp_path / "run", resume=True)

    def test_damaged_newest_is_passed_over_and_the_run_ends_as_ever(self, lab, tmp_path):
        path = lab.write(tmp_path)
        lab.train(path, tmp_path / "whole")
        lab.train(path, tmp_path / "run", stop_after=8)
        truncate(tmp_path / "run" / "checkpoints" / "iter_8.pth")
        lab.train(path, tmp_path / "run", resume=True)
        lab.assert_same_run(tmp_path / "whole", tmp_path / "run")
        log = (tmp_path / "run" / "train.log").read_text()
        assert log.count("WARNING") == 1
        assert "iter_8.pth is damaged" in log
        assert "resuming after step 6" in log

    def test_resuming_an_older_checkpoint_moves_the_later_ones_aside(self, lab, tmp_path):
        path = lab.write(tmp_path, default_hooks={"checkpoint": {"interval": 3, "by_epoch": False}})
        lab.train(path, tmp_path / "run")
        older = tmp_path / "run" / "checkpoints" / "iter_9.pth"
        lab.train(path, tmp_path / "run", resume=str(older), stop_after=10)
        kept = {p.name for p in (tmp_path / "run" / "checkpoints").glob("*_*.pth")}
        assert kept == {"iter_9.pth", "iter_10.pth"}
        assert lab.state(tmp_path / "run")["step"] == 10
        moved = tmp_path / "run" / "earlier" / "1" / "epoch_2.pth"
        assert torch.load(moved, weights_only=True)["step"] == 12
        assert max(r["step"] for r in lab.records(tmp_path / "run")) <= 10


def test_what_a_kill_left_under_this_processs_number_is_not_written_through(folder, tmp_path):
    """Numbers of processes come again, and what was left may be a link to a checkpoint."""
    os.link(folder.folder / "epoch_3.pth", folder.folder / f".last.pth.{os.getpid()}.tmp")
    aside = tmp_path / "aside"
    aside.mkdir()
    folder.rewind(20, aside)
    assert load_checkpoint(aside / "epoch_3.pth")["step"] == load_checkpoint(aside / "last.pth")["step"] == 30
    assert load_checkpoint(folder.folder / "last.pth")["step"] == 20
