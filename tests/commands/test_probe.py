"""``openmix probe``: figures against scikit-learn's of the same features, on 1 process and on 2, and fine-tuning."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from openmix.commands import run_command
from openmix.data import Digits
from openmix.evaluation import choose_l2
from openmix.ops.random import derive_seed
from openmix.registry import build_task

DIGITS = {"type": "ResidentLoader", "batch_size": 64, "dataset": {"type": "Digits", "split": "val", "size": 8}}
TRAINING = {
    **DIGITS, "dataset": {**DIGITS["dataset"], "split": "train", "labels_per_class": 20},
    "pipeline": [{"type": "RandomCrop", "size": 8, "padding": 2}],
}  # fmt: skip
BACKBONE = {"type": "ConvNet", "widths": [8, 16], "in_channels": 1}
HEAD = {"type": "ClsHead", "num_classes": 10}
MODEL = {"type": "Classification", "backbone": BACKBONE, "head": HEAD}
VIEWS = [{"type": "Views", "views": [[{"type": "RandomResizedCrop", "size": 8}]] * 2}]
SIMCLR = {
    "type": "SimCLR", "backbone": BACKBONE, "probe": HEAD, "projector": {"type": "ProjectionMLP", "channels": [12]},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(lab, tmp_path_factory):
    """Runs of a few steps on Digits: 'plain' classifies, with averaged weights; 'simclr' learns without labels."""
    folder = tmp_path_factory.mktemp("probe")
    data = {"train_dataloader": TRAINING, "val_dataloader": DIGITS, "test_dataloader": None}
    configs = {
        "plain": {"model": MODEL, "custom_hooks": [{"type": "EMAHook", "momentum": 0.2}]},
        "simclr": {"model": SIMCLR, "train_dataloader": {**TRAINING, "pipeline": VIEWS}},
    }
    for name, changes in configs.items():
        config = lab.write(folder, name, **{**data, **changes, "val_cfg": {"knn": {"k": 30, "temperature": 0.07}}})
        lab.train(config, folder / name)
    lab.write(folder, "finetune", **data, model=MODEL)
    return folder


@pytest.fixture
def probe(folder, tmp_path, capsys):
    """Call the command in this process; return its figures, exit code and what it said."""

    def call(run="plain", *options, config=None, checkpoint=None):
        out = tmp_path / "figures.json"
        out.unlink(missing_ok=True)
        checkpoint = checkpoint or folder / run / "checkpoints/last.pth"
        argv = [str(config or folder / f"{run}.py"), str(checkpoint), *map(str, options), "--out", str(out)]
        code = run_command("probe", argv)
        said = capsys.readouterr()
        return json.loads(out.read_text()) if out.exists() else None, code, said.out + said.err

    return call


def averaged(lab, folder):
    state = lab.state(folder / "plain")["ema"]
    return {k.removeprefix("module."): v for k, v in state.items() if k.startswith("module.")}


def features(weights):
    """Return pooled features and labels of both sets, by the network's own modules."""
    torch.manual_seed(0)
    task = build_task(MODEL)
    task.load_state_dict(weights)
    found = []
    for data in (Digits("train", size=8, labels_per_class=20), Digits("val", size=8)):
        with torch.no_grad():
            maps = task.eval().backbone((data.images.float() / 255 - 0.5) / 0.25)
        found.append((maps[-1].mean((2, 3)).double().numpy(), data.labels.numpy()))
    return found


def pixels():
    sets = (Digits("train", size=8, labels_per_class=20), Digits("val", size=8))
    return [(data.images.flatten(1).double().numpy() / 255, data.labels.numpy()) for data in sets]


def knn_of(train, val, k=30, temperature=0.07):
    knn = KNeighborsClassifier(k, metric="cosine", weights=lambda d: np.exp((1 - d) / temperature))
    return 100 * knn.fit(*train).score(*val)


def linear_of(train, val, l2):
    (x, y), (test_x, test_y) = train, val
    mean, scale = x.mean(0), x.std(0)
    scale[scale <= 1e-12 * abs(mean)] = 1
    fit = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=5000).fit((x - mean) / scale, y)
    return 100 * fit.score((test_x - mean) / scale, test_y)


def test_figures_are_scikit_learns_of_the_weights_that_the_run_validated(lab, folder, probe):
    figures, code, said = probe("plain", "--knn", "--linear", "--l2", 1e-3)
    assert code == 0
    assert (figures["bank_n"], figures["n"], figures["split"]) == (200, 500, "val")
    assert figures["knn"] == {"k": 30, "temperature": 0.07, "features": "backbone"}
    [row] = figures["rows"]
    train, val = features(averaged(lab, folder))
    assert row["network"] == "trained" and row["dim"] == 16 and row["l2"] == 1e-3
    assert row["top1_knn"] == pytest.approx(knn_of(train, val))
    assert row["top1_knn"] == lab.state(folder / "plain")["metrics"]["top1_knn"]
    assert row["top1_linear"] == pytest.approx(linear_of(train, val, 1e-3), abs=0.21)  # an image
    assert row["top1_linear"] > 50
    for figure in (f"{row['top1_knn']:.2f}", f"{row['top1_linear']:.2f}", "kNN (k=30, T=0.07)", "500", "200"):
        assert figure in said


def test_options_come_before_the_configs(probe, lab, folder):
    figures, _, _ = probe("plain", "--knn", "--k", 5, "--temperature", 0.5)
    train, val = features(averaged(lab, folder))
    assert figures["rows"][0]["top1_knn"] == pytest.approx(knn_of(train, val, 5, 0.5))
    assert "top1_linear" not in figures["rows"][0]


def test_baselines(probe, lab, folder):
    figures, code, _ = probe("plain", "--knn", "--linear", "--baselines", "--l2", 1e-2)
    assert code == 0
    raw, untrained, trained = figures["rows"]
    assert [row["network"] for row in figures["rows"]] == ["raw pixels", "untrained (seed 0)", "trained"]
    assert raw["dim"] == 64
    assert raw["top1_knn"] == pytest.approx(knn_of(*pixels()))
    assert "top1_linear" not in raw
    torch.manual_seed(derive_seed(0, "weights"))
    begun = features(build_task(MODEL).state_dict())
    assert untrained["top1_knn"] == pytest.approx(knn_of(*begun))
    assert untrained["top1_knn"] != trained["top1_knn"]
    other, _, _ = probe("plain", "--knn", "--baselines", "--seed", 1)
    assert other["rows"][1]["network"] == "untrained (seed 1)"
    assert other["rows"][1]["top1_knn"] != untrained["top1_knn"]
    assert other["rows"][2]["top1_knn"] == trained["top1_knn"]


def test_the_penalty_is_chosen_on_training_images_and_reported(probe, lab, folder):
    figures, _, said = probe("plain", "--linear")
    (x, y), _ = features(averaged(lab, folder))
    expected = choose_l2(torch.from_numpy(x), torch.from_numpy(y), 10)
    assert figures["rows"][0]["l2"] == expected and f"{expected:g}" in said


def test_projections_for_knn_and_the_trunk_for_the_linear_probe(probe):
    figures, code, _ = probe("simclr", "--knn", "--features", "projection", "--linear", "--l2", 1e-2)
    assert code == 0
    by_projection, by_trunk = figures["rows"]
    assert (by_projection["features"], by_projection["dim"]) == ("projection", 12)
    assert (by_trunk["features"], by_trunk["dim"]) == ("backbone", 16)
    assert "top1_linear" not in by_projection and "top1_knn" not in by_trunk


def test_foreign_weights_of_a_trunk(probe, lab, folder, tmp_path):
    trunk = {k: v for k, v in lab.state(folder / "simclr")["model"].items() if k.startswith("backbone.")}
    torch.save({"state_dict": trunk}, tmp_path / "trunk.pth")
    figures, code, _ = probe("simclr", "--knn", checkpoint=tmp_path / "trunk.pth")
    whole, _, _ = probe("simclr", "--knn")
    assert code == 0 and figures["rows"] == whole["rows"]
    # and as the trunk of another task
    other, code, _ = probe("simclr", "--knn", config=folder / "finetune.py", checkpoint=tmp_path / "trunk.pth")
    assert code == 0 and other["knn"]["k"] == 200
    figures, code, said = probe("simclr", "--knn", "--features", "projection", checkpoint=tmp_path / "trunk.pth")
    assert code == 2 and figures is None and "has no weights of projector" in said


def test_fine_tuning_is_training_from_the_checkpoint(probe, lab, folder, tmp_path):
    checkpoint = folder / "simclr/checkpoints/last.pth"
    figures, code, said = probe("simclr", "--knn", "--finetune", folder / "finetune.py")
    assert code == 0
    beside = folder / "simclr_finetune"
    assert figures["finetune"]["work_dir"] == str(beside) and "simclr_finetune" in said
    config = str(folder / "finetune.py")
    expected = lab.train(config, tmp_path / "same", load_from=str(checkpoint))
    assert {k: figures["finetune"][k] for k in expected} == expected
    assert lab.differences(lab.state(beside)["model"], lab.state(tmp_path / "same")["model"]) == []
    lab.train(config, tmp_path / "afresh")
    assert lab.differences(lab.state(beside)["model"], lab.state(tmp_path / "afresh")["model"]) != []


def test_fine_tuning_alone_elsewhere_and_otherwise(probe, lab, folder, tmp_path):
    options = ("--finetune-options", "train_cfg.max_epochs=1", "--work-dir", tmp_path / "there")
    figures, code, _ = probe("simclr", "--finetune", folder / "finetune.py", *options)
    assert code == 0 and "rows" not in figures
    assert lab.records(tmp_path / "there")[-1]["epoch"] == 1
    _, code, _ = probe("simclr", "--finetune", folder / "finetune.py", *options, "--resume")
    assert code == 0 and not (tmp_path / "there/earlier").exists()


@pytest.mark.slow  # two processes that import all of torch
def test_two_processes_find_the_same(folder, probe, tmp_path):
    expected, _, _ = probe("plain", "--knn", "--linear", "--baselines", "--l2", 1e-2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [
        sys.executable, "-m", "openmix", "probe", str(folder / "plain.py"),
        str(folder / "plain/checkpoints/last.pth"), "--knn", "--linear", "--baselines", "--l2", "1e-2",
        "--launcher", "pytorch", "--out", str(tmp_path / "two.json"),
    ]  # fmt: skip
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            command, env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    assert json.loads((tmp_path / "two.json").read_text()) == expected
    assert "raw pixels" in said[0] and said[1] == ""


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ([], "--knn, --linear or --finetune CONFIG2"),
        (["--linear", "--k", "3"], "--k would change nothing without --knn"),
        (["--knn", "--l2", "3"], "--l2 would change nothing without --linear"),
        (["--knn", "--resume", "--work-dir", "x"], "--work-dir and --resume would change nothing without --finetune"),
        (["--knn", "--k", "0"], "k must be at least 1, got 0"),
        (["--knn", "--k", "201"], "k=201 is more than the 200 training images"),
        (["--knn", "--temperature", "-1"], "temperature must be above 0"),
        (["--linear", "--l2", "0"], "--l2 must be above 0"),
        (["--knn", "--features", "projection"], "Classification has no features='projection'"),
        (["--knn", "--split", "test"], "the config has no test_dataloader"),
        (["--knn", "--finetune", "nowhere.py"], "nowhere.py"),
    ],
)
def test_wrong_input(probe, options, named):
    figures, code, said = probe("plain", *options)
    assert code == 2 and figures is None
    assert named in said and "Traceback" not in said


def test_another_networks_checkpoint(probe, folder, tmp_path, lab):
    wide = lab.write(
        tmp_path, "wide", model={**MODEL, "backbone": {**BACKBONE, "widths": [9, 16]}}, train_dataloader=TRAINING,
        val_dataloader=DIGITS,
    )  # fmt: skip
    _, code, said = probe("plain", "--knn", config=wide)
    assert code == 2 and "another network" in said
    _, code, said = probe("plain", "--knn", checkpoint=tmp_path / "none.pth")
    assert code == 2 and "none.pth" in said


def test_the_script_is_the_command(folder):
    script = Path(__file__).resolve().parents[2] / "tools/probe.py"
    done = subprocess.run([sys.executable, str(script), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "tools/probe.py" in done.stdout and "--knn" in done.stdout
