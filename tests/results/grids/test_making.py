"""A study on the disk: its files, made once, grown, cut; nothing is left of what was wrong, or lost of others."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from openmix.engine.config import load_config
from openmix.engine.config_hash import config_hash
from openmix.errors import UserError, WriteError
from openmix.results.grids import making
from openmix.results.grids.making import make_study
from openmix.results.grids.manifest import Manifest
from openmix.results.grids.spec import grid_of

AXES = {"mix_mode": ["mixup", "cutmix"], "alpha": [0.2, 1], "seed": [0]}
NAMES = ["tiny_mixup_a0.2_s0", "tiny_mixup_a1_s0", "tiny_cutmix_a0.2_s0", "tiny_cutmix_a1_s0"]


@pytest.fixture
def make(lab, tmp_path):
    base = Path(lab.write(tmp_path, "tiny_mixups", work_dir="elsewhere"))

    def make(axes=AXES, folder="study", **options):
        return make_study(grid_of(base, axes), tmp_path / folder, **options)

    return make


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_what_a_study_holds(make, tmp_path):
    made = make()
    study = tmp_path / "study"
    assert set(content(study)) == {f"configs/{n}.py" for n in NAMES} | {"manifest.json", "train.sh", "test.sh"}
    assert made.new == NAMES
    assert (study / "configs/tiny_mixup_a0.2_s0.py").read_text() == (
        '"""MixUp, alpha 0.2, seed 0: one of the runs in ../manifest.json."""\n\n'
        '_base_ = "../../tiny_mixups.py"\n'
        'model = dict(mix_mode="mixup", alpha=0.2)\n'
        "randomness = dict(seed=0)\n"
        'work_dir = "{{ fileDirname }}/../runs/tiny_mixup_a0.2_s0"\n'
    )
    manifest = Manifest.read(study)
    assert manifest == made.manifest and manifest.base == "../tiny_mixups.py"
    for entry, name in zip(manifest.entries, NAMES, strict=True):
        cfg = load_config(str(manifest.config(entry)))
        assert entry.name == name and entry.config_hash == config_hash(cfg)
        assert Path(cfg.work_dir).resolve() == manifest.work_dir(entry).resolve() == (study / "runs" / name).resolve()
        assert (cfg.model.mix_mode, cfg.model.alpha, cfg.randomness.seed) == tuple(entry.settings.values())


def test_a_run_of_it_is_the_manifests(make, lab, tmp_path):
    entry = make().manifest.entries[0]
    path = str(tmp_path / "study" / entry.config)
    lab.train(path, tmp_path / "study" / entry.work_dir)
    assert (
        json.loads((tmp_path / "study" / entry.work_dir / "run.json").read_text())["config_hash"] == entry.config_hash
    )
    again = make()
    assert (again.stale, again.new, again.changed) == ([], [], [])


def test_twice_changes_nothing(make, tmp_path):
    make()
    before = content(tmp_path / "study")
    made = make(dict(reversed(AXES.items())))
    assert content(tmp_path / "study") == before
    assert (made.new, made.changed, made.removed) == ([], [], [])


def test_it_grows_and_renames_nothing(make, tmp_path):
    make()
    before = content(tmp_path / "study")
    made = make({**AXES, "seed": [0, 1], "mix_mode": ["mixup", "cutmix", "resizemix"]})
    after = content(tmp_path / "study")
    assert len(made.new) == 8 and len(made.manifest.entries) == 12
    assert all(after[name] == before[name] for name in before if name.startswith("configs"))


def test_a_smaller_grid_is_refused_unless_pruned(make, tmp_path):
    make()
    results = tmp_path / "study/runs" / NAMES[3] / "run.json"
    results.parent.mkdir(parents=True)
    results.write_text("{}")
    before = content(tmp_path / "study")
    with pytest.raises(UserError, match=f"has 2 runs that this grid has not: {NAMES[2]}, {NAMES[3]}; .* --prune"):
        make({**AXES, "mix_mode": ["mixup"]})
    assert content(tmp_path / "study") == before
    made = make({**AXES, "mix_mode": ["mixup"]}, prune=True)
    assert made.removed == NAMES[2:]
    assert [e.name for e in Manifest.read(tmp_path / "study").entries] == NAMES[:2]
    assert sorted(p.stem for p in (tmp_path / "study/configs").iterdir()) == sorted(NAMES[:2])
    assert results.exists()


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"mix_mode": ["mixup"], "alpha": [1, -1]}, "the run tiny_mixup_a-1 would be wrong: model: .*above 0"),
        (
            {"mix_mode": ["mixup"], "max_epochs": [0]},
            "the run tiny_mixup_ep0 would be wrong: train_cfg: .*at least 1 ep",
        ),
        ({"model.backbone.width": [[4, 8]]}, "backbone.width: ConvNet takes no 'width'; did you mean 'widths'"),
        ({"mix_mode": [["mixup", "cutmix"]], "mix_prob": [[0.4, 0.7]]}, "sums to 1.1"),
        ({"model.neck": ["é", "ü"]}, "two runs would be called tiny_mixups_neck-"),
        (
            {"model.neck": ["Pool", "pool"]},
            "two runs would be called tiny_mixups_neckpool.*: let an axis be the key",
        ),
        ({"model.neck": ["x" * 250]}, "a run's name has up to 200 characters"),
    ],
)
def test_nothing_is_written_where_one_is_wrong(make, tmp_path, axes, message):
    with pytest.raises(UserError, match=message):
        make(axes, "new/study")
    assert not (tmp_path / "new").exists()
    make()
    before = content(tmp_path / "study")
    with pytest.raises(UserError, match=message):
        make(axes, prune=True)
    assert content(tmp_path / "study") == before


def test_results_of_another_config_are_named(make, lab, tmp_path):
    work_dir = tmp_path / "study/runs" / NAMES[0]
    lab.train(str(make().manifest.config(make().manifest.entries[0])), work_dir)
    lab.write(tmp_path, "tiny_mixups", train_cfg={"max_epochs": 3})
    made = make()
    assert made.changed == NAMES
    assert made.stale == [NAMES[0]]


class TestSomethingElseIsThere:
    def test_a_file(self, make, tmp_path):
        (tmp_path / "study").touch()
        with pytest.raises(UserError, match="study is no folder, and a study is one"):
            make()

    def test_other_files(self, make, tmp_path):
        (tmp_path / "study").mkdir()
        (tmp_path / "study/thesis.tex").touch()
        with pytest.raises(UserError, match=r"holds thesis.tex, and no study; name another folder"):
            make()
        assert [p.name for p in (tmp_path / "study").iterdir()] == ["thesis.tex"]

    def test_another_manifest(self, make, tmp_path):
        (tmp_path / "study").mkdir()
        (tmp_path / "study/manifest.json").write_text('{"name": "an app"}')
        with pytest.raises(UserError, match=r"manifest.json is no study's"):
            make()

    def test_a_study_of_later_days(self, make, tmp_path):
        make()
        path = tmp_path / "study/manifest.json"
        path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
        with pytest.raises(UserError, match="schema 2"):
            make()

    @pytest.mark.parametrize("damage", ["", "[]", '{"schema": 1, "entries": [{"name": 3}]}', "[" * 20000])
    def test_a_damaged_manifest_is_made_anew(self, make, tmp_path, damage):
        make()
        before = content(tmp_path / "study")
        (tmp_path / "study/manifest.json").write_text(damage)
        with pytest.raises(UserError, match=r"manifest.json is damaged: .*; 'openmix grid make' writes it anew"):
            Manifest.read(tmp_path / "study")
        make()
        assert {k: v[0] for k, v in content(tmp_path / "study").items()} == {k: v[0] for k, v in before.items()}

    def test_somebodys_config_of_the_same_name_is_kept(self, make, tmp_path):
        path = tmp_path / "study/configs" / f"{NAMES[0]}.py"
        path.parent.mkdir(parents=True)
        path.write_text("mine = 1\n")
        with pytest.raises(UserError, match=rf"{NAMES[0]}.py is there, and no manifest in .* names it"):
            make()
        assert path.read_text() == "mine = 1\n"

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_no_permission(self, make, tmp_path):
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UserError, match=r"cannot write to .*: Permission denied"):
            make(folder="closed/study")


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a{{b"])
def test_a_folder_whose_name_cannot_stand_in_a_config(make, tmp_path, name):
    with pytest.raises(UserError, match="a name of printable characters without quotes"):
        make(folder=name)
    assert not (tmp_path / name).exists()


def test_a_folder_with_spaces_and_other_scripts(make, tmp_path):
    entry = make(folder="Größe 日本 $HOME 'x'").manifest.entries[0]
    study = tmp_path / "Größe 日本 $HOME 'x'"
    assert Path(load_config(str(study / entry.config)).work_dir).resolve() == (study / entry.work_dir).resolve()
    for name in ("train.sh", "test.sh"):
        assert subprocess.run(["bash", "-n", str(study / name)], check=False).returncode == 0


def test_through_a_link(make, tmp_path):
    """Where ``..`` would mean two things, the base is found from the configs' folder by either name."""
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far/away")
    make(folder="link/study")
    for study in (tmp_path / "link/study", tmp_path / "far/away/study"):
        assert load_config(str(study / f"configs/{NAMES[0]}.py")).model.alpha == 0.2


@pytest.mark.parametrize("writes", [1, 3, 6])
def test_a_disk_that_fills_up_leaves_what_the_same_command_completes(make, tmp_path, monkeypatch, writes):
    real, count = making.write_atomically, 0

    def write(path, function):
        nonlocal count
        count += 1
        if count > writes:
            raise OSError(28, "No space left on device")
        real(path, function)

    with monkeypatch.context() as patch:
        patch.setattr(making, "write_atomically", write)
        with pytest.raises(WriteError, match="No space left on device"):
            make()
    assert not (tmp_path / "study/manifest.json").exists(), "it is written last"
    make()
    make(folder="other")
    one, other = content(tmp_path / "study"), content(tmp_path / "other")
    assert {k: v[0] for k, v in one.items()} == {k: v[0] for k, v in other.items()}


def test_what_a_kill_left_is_cleared_and_what_is_being_made_is_not(make, tmp_path):
    old, new = tmp_path / "study/.making-old", tmp_path / "study/.making-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "tiny.py").touch()
    os.utime(old, (0, 0))
    make()
    assert not old.exists() and new.exists()


def test_a_dict_with_a_type_replaces_what_the_base_has(make, tmp_path):
    networks = [{"type": "ConvNet", "widths": [4], "in_channels": 1}, {"type": "VGG", "depth": 11, "in_channels": 1}]
    entries = make({"model.backbone": networks}).manifest.entries
    assert [entry.name for entry in entries] == ["tiny_mixups_backboneConvNet", "tiny_mixups_backboneVGG"]
    for entry, network in zip(entries, networks, strict=True):
        assert load_config(str(tmp_path / "study" / entry.config)).model.backbone == network


def test_notes_on_alphas_that_methods_ignore(make):
    made = make({"mix_mode": ["vanilla", "mixup", "resizemix"], "alpha": [0.2, 1]})
    assert [note.split(":")[0] for note in made.notes] == ["resizemix does not use alpha", "vanilla does not use alpha"]
    assert "--exclude mix_mode=vanilla alpha=1 would" in made.notes[1]
