"""tools/auto_train_mixups.py: the studies that it is known for, config by config, and what it says of mistakes."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from openmix.commands import run_command
from openmix.engine.config import load_config
from openmix.results.grids.manifest import Manifest

ROOT = Path(__file__).parents[2]
BASIC = "configs/classification/cifar10/mixups/basic"
BASE = f"{BASIC}/r18_mixups_CE_none.py"


@pytest.fixture
def make(capsys, monkeypatch, tmp_path):
    """Run the command in the repository and return its exit code and what it said."""
    monkeypatch.chdir(ROOT)

    def make(*arguments, out="study"):
        code = run_command("_grid_make", [*map(str, arguments), "--out", str(tmp_path / out)])
        return (code, *capsys.readouterr())

    return make


def check(folder: Path, capsys, count: int) -> None:
    assert run_command("check", [str(folder)]) == 0
    assert f"{count} of {count} config files are right" in capsys.readouterr().out


def models(folder: Path) -> list[dict]:
    manifest = Manifest.read(folder)
    return [load_config(str(manifest.config(entry))).model.to_dict() for entry in manifest.entries]


def test_the_command_of_the_readme(tmp_path, capsys):
    """As a process; 24 configs, a manifest and scripts; openmix check passes, also beside the records of runs."""
    words = "--mix-mode mixup cutmix resizemix --alpha 0.2 1.0 --max-epochs 200 400 --seed 0 1 --out"
    command = [sys.executable, "tools/auto_train_mixups.py", BASE, *words.split(), str(tmp_path / "study")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("24 runs = 3 mix_mode x 2 alpha x 2 max_epochs x 2 seed\n")
    expected = [
        f"r18_{mode}_a{alpha}_ep{epochs}_s{seed}"
        for mode, alpha, epochs, seed in itertools.product(
            ("mixup", "cutmix", "resizemix"), ("0.2", "1"), (200, 400), (0, 1)
        )
    ]
    study = tmp_path / "study"
    assert sorted(path.stem for path in (study / "configs").iterdir()) == sorted(expected)
    assert {path.name for path in study.iterdir()} == {"configs", "manifest.json", "train.sh", "test.sh"}
    for entry in Manifest.read(study).entries[:2]:
        work_dir = study / entry.work_dir
        work_dir.mkdir(parents=True)
        (work_dir / "run.json").write_text("{}")
        (work_dir / "config.py").write_text("a resolved config\n")
    check(study, capsys, 24)


def test_the_example_of_openmixups_page(make, tmp_path, capsys):
    code, out, _ = make("--mix-mode", "mixup+cutmix", "--alpha", "0.1+1", "--mix-prob", "0.4+0.6")
    assert (code, out.splitlines()[0]) == (0, "1 run = 1 mix_mode x 1 alpha x 1 mix_prob")
    (path,) = (tmp_path / "study/configs").iterdir()
    assert path.name == "r18_mixup-cutmix_a0.1-1_p0.4-0.6.py"
    shipped = load_config(str(ROOT / BASIC / "r18_mixup_cutmix_CE_none.py"))
    (model,) = models(tmp_path / "study")
    assert model == shipped.model.to_dict()
    assert make("configs/grids/mixup_cutmix_switch.py", out="grid")[0] == 0
    assert models(tmp_path / "grid") == [model] * 3
    check(tmp_path, capsys, 4)


def test_methods_with_parts_of_their_own(make, tmp_path):
    modes = ["attentivemix", "puzzlemix", "automix", "samix", "adautomix"]
    code, out, err = make("--mix-mode", *modes, "--backbone", "rx50")
    assert (code, err, out.splitlines()[0]) == (0, "", "5 runs = 1 backbone x 5 mix_mode")
    expected = ["MixUp"] * 2 + ["AutoMix", "SAMix", "AdAutoMix"]
    found = models(tmp_path / "study")
    assert [model["type"] for model in found] == [f"{name}Classification" for name in expected]
    assert [m["backbone"]["type"] for m in found] == ["ResNeXt_CIFAR"] * 5
    assert ["guide" in model for model in found] == [True, False, False, False, False]


def test_a_grid_file_with_other_axes(make, tmp_path):
    """Of the full CIFAR-10 table those for 200 epochs with seed 0; its alphas are the ones that were published."""
    from openmix.results.published import lookup

    code, out, _ = make("configs/grids/cifar10_r18_rx50.py", "--max-epochs", 200, "--seed", 0)
    assert (code, out.splitlines()[0]) == (0, "26 runs = 26 (backbone, mix_mode, alpha) x 1 max_epochs x 1 seed")
    figures = {
        (f.network, f.method, *f.alpha)
        for network in ("r18", "rx50")
        for f in lookup("cifar10", network, epochs=200)
        if f.source == "openmixup"
    }
    settings = [entry.settings for entry in Manifest.read(tmp_path / "study").entries]
    ours = {(s["backbone"], s["mix_mode"], *([s["alpha"]] if "alpha" in s else [])) for s in settings}
    assert len(ours) == 26 and ours <= figures
    for model, setting in zip(models(tmp_path / "study"), settings, strict=True):
        ported = setting["mix_mode"] in ("smoothmix", "saliencymix", "gridmix", "resizemix", "attentivemix")
        preset = model.get("mix_args", {}).get(setting["mix_mode"], {}).get("preset")
        assert (preset == "openmixup") is ported


@pytest.mark.slow
def test_the_full_cifar10_table(make, tmp_path, capsys):
    code, out, _ = make("configs/grids/cifar10_r18_rx50.py")
    assert (code, out.splitlines()[0]) == (0, "312 runs = 26 (backbone, mix_mode, alpha) x 4 max_epochs x 3 seed")
    names = {entry.name for entry in Manifest.read(tmp_path / "study").entries}
    assert len(names) == 312
    assert {"r18_vanilla_ep200_s0", "rx50_smoothmix_a0.2_ep1200_s2", "r18_samix_a2_ep800_s1"} <= names
    check(tmp_path / "study", capsys, 312)


def test_the_digits_grid_is_of_runs_of_seconds(make, tmp_path):
    assert make("configs/grids/digits.py")[0] == 0
    names = [entry.name for entry in Manifest.read(tmp_path / "study").entries]
    assert names[:5] == [f"digits_{n}_s0" for n in ("vanilla", "mixup_a0.2", "mixup_a1", "cutmix_a0.2", "cutmix_a1")]
    assert len(names) == 10


def test_what_it_says_the_second_time(make, tmp_path):
    words = ("--mix-mode", "mixup", "cutmix", "vanilla", "--alpha", "0.2", "1")
    code, out, _ = make(*words, "--exclude", "mix_mode=vanilla", "alpha=0.2")
    assert code == 0
    assert out.splitlines()[0] == "5 runs = 3 mix_mode x 2 alpha, less 1 excluded"
    assert "configs (5 new, 0 changed, 0 removed), manifest.json, train.sh, test.sh" in out
    out = make(*words, "--exclude", "mix_mode=vanilla", "alpha=0.2")[1]
    assert out.splitlines()[1:] == [f"{tmp_path}/study is as it was"]
    assert "(1 new, 0 changed, 0 removed)" in make(*words)[1]
    code, _, err = make("--mix-mode", "mixup", "--alpha", "0.2")
    assert code == 2 and "has 5 runs that this grid has not" in err
    assert "(0 new, 0 changed, 5 removed)" in make("--mix-mode", "mixup", "--alpha", "0.2", "--prune")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name at least one axis, such as --mix-mode mixup cutmix, or a grid file"),
        (["--mix-mode", "cutmx"], "there is no mixing method 'cutmx'; did you mean 'cutmix'?"),
        (["--mix-mode", "mixup", "--alpha", "-1"], "the run r18_mixup_a-1 would be wrong: model: "),
        (["--mix-mode", "mixup", "--alpha", "nan"], "alpha takes finite numbers, got nan"),
        (["--mix-mode", "transmix"], "transmix needs what cannot be had of ResNet_CIFAR"),
        (["nowhere.py", "--seed", "0"], "there is no config file nowhere.py"),
        (["--seed", "0", "--axis", "randomness.seed", "1"], "seed is given twice"),
        (["--seed", "0", "--exclude", "seed"], "--exclude takes AXIS=VALUE, each axis once, got seed"),
        (["--seed", "0", "--exclude", "seed=1"], "cannot exclude seed 1: it is no value of this grid"),
        (["--seed", "0", "--nproc", "0"], "--nproc must be at least 1, got 0"),
        (["--axis", "model.head.los", "x"], "ClsMixupHead takes no 'los'; did you mean 'loss'?"),
    ],
)
def test_mistakes(make, tmp_path, arguments, message):
    code, out, err = make(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and message in err
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes = dict(seed=[0])\nexcludes = []\n", "a grid has no 'excludes'; did you mean 'exclude'?"),
        ("axes = [1]\n", "axes must be a dict of lists, got [1]"),
        ("axes = dict(seed=[0])\nbase = 'nowhere.py'\n", "nowhere.py for the runs to inherit"),
        ("axes = dict(seed=[0])\nbases = dict(automix=3)\n", "bases must be a dict of config files by method, got 3"),
        ("axes = dict(seed=[0)\n", "this is not Python"),
    ],
)
def test_grid_files_that_are_wrong(make, tmp_path, capsys, text, message):
    file = tmp_path / "grid.py"
    file.write_text(text)
    code, _, err = make(file)
    assert code == 2 and message in err
    assert run_command("check", [str(file)]) == 2
    said = capsys.readouterr().out
    assert f"WRONG {file}" in said and "0 of 1 grid files are right" in said
