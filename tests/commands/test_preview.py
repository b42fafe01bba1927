"""preview: a picture of what the network will see."""

import runpy
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import torch

from openmix.commands import run_command
from openmix.commands.preview import rows_of

ROOT = Path(__file__).parents[2]


def test_picture_is_written(lab, tmp_path, capsys):
    out = tmp_path / "new" / "mixed.png"
    assert run_command("preview", [lab.write(tmp_path), "--out", str(out), "--images", "3"]) == 0
    assert matplotlib.image.imread(out).shape[2] == 4
    assert f"wrote {out}" in capsys.readouterr().out


def test_every_mode_has_a_row_of_different_draws(lab, tmp_path):
    rows, notes = rows_of(lab.write(tmp_path, model={"mix_mode": ["mixup", "cutmix", "vanilla"]}), columns=4)
    assert [row.title for row in rows] == ["mixup", "cutmix", "vanilla"]
    assert notes == []
    assert all(len(row.samples) == 4 for row in rows)
    assert len({sample.label[0][1] for sample in rows[0].samples}) == 4


def test_more_columns_than_images(lab, tmp_path):
    (row, _), _ = rows_of(lab.write(tmp_path), columns=100)
    assert len(row.samples) == 8


def test_images_are_in_the_data_sets_colours(lab, tmp_path):
    """Normalisation does not show: not in the images, and not in their mix."""
    plain, _ = rows_of(lab.write(tmp_path, "plain", data_preprocessor={"mean": [0.0], "std": [1.0]}), columns=3)
    normal, _ = rows_of(lab.write(tmp_path, "normal"), columns=3)
    for one, other in zip(plain, normal, strict=True):
        for a, b in zip(one.samples, other.samples, strict=True):
            assert (a.own == b.own).all()
            assert abs(a.mixed.astype(int) - b.mixed).max() <= 1


def test_methods_inside_the_network_are_named(lab, tmp_path, capsys):
    path = lab.write(tmp_path, model={"mix_mode": ["mixup", "manifoldmix"]})
    assert run_command("preview", [path, "--out", str(tmp_path / "p.png")]) == 0
    assert "manifoldmix mixes inside the network: no picture\n" in capsys.readouterr().out


def test_rows_of_several_configs_say_whose_they_are(lab, tmp_path, monkeypatch):
    titles = []

    def draw(rows, notes):
        from matplotlib.figure import Figure

        titles.extend(row.title for row in rows)
        return Figure()

    monkeypatch.setattr("openmix.engine.picture.draw", draw)
    paths = [lab.write(tmp_path, name, model={"mix_mode": "mixup"}) for name in ("one", "two")]
    assert run_command("preview", [*paths, "--out", str(tmp_path / "p.png")]) == 0
    assert titles == ["mixup   (one)", "mixup   (two)"]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"model": {"mix_mode": "manifoldmix"}}, [], "manifoldmix mixes inside the network: no picture"),
        ({}, ["--images", "0"], "--images must be at least 1, got 0"),
        ({}, ["--out", "p.jpg"], "--out must name a .png file, got 'p.jpg'"),
        ({}, ["--out", "/dev/null/p.png"], "cannot write /dev/null/p.png"),
    ],
)
def test_wrong_input(lab, tmp_path, capsys, changes, options, message):
    assert run_command("preview", [lab.write(tmp_path, **changes), "--out", str(tmp_path / "p.png"), *options]) == 2
    assert message in capsys.readouterr().err


def test_the_script_is_the_command(lab, tmp_path, monkeypatch, capsys):
    script, out = ROOT / "tools" / "preview_batch.py", tmp_path / "p.png"
    monkeypatch.setattr("sys.argv", [str(script), lab.write(tmp_path), "--images", "1", "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert (end.value.code, capsys.readouterr().out) == (0, f"wrote {out}\n")
    assert out.read_bytes()[:4] == b"\x89PNG"


def test_a_guided_method_looks_at_the_checkpoints_network(lab, tmp_path):
    """Without one, at the weights that a run begins with."""
    path = lab.write(tmp_path, model={"mix_mode": "rmix"})
    lab.train(path, tmp_path / "run")
    begin, _ = rows_of(path, columns=2)
    trained, _ = rows_of(path, 2, str(tmp_path / "run" / "checkpoints" / "last.pth"))
    for one, other in zip(begin[0].samples, trained[0].samples, strict=True):
        assert (one.own == other.own).all()
        assert one.salient[0].shape == (8, 8) and not np.allclose(one.salient[0], other.salient[0])


def test_a_checkpoint_of_another_network(lab, tmp_path, capsys):
    path = lab.write(tmp_path, model={"mix_mode": "rmix"})
    lab.train(lab.write(tmp_path, "wide", model={"backbone": {"widths": [5, 9]}}), tmp_path / "run")
    out, checkpoint = tmp_path / "p.png", tmp_path / "run" / "checkpoints" / "last.pth"
    assert run_command("preview", [path, "--out", str(out), "--checkpoint", str(checkpoint)]) == 2
    assert "another network than the config's" in capsys.readouterr().err
    assert not out.exists()


LEARNED = {"AutoMixClassification": 2, "SAMixClassification": 2, "AdAutoMixClassification": 3}


def write_learned(lab, folder, kind, **changes):
    model = {
        "type": kind,
        "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
        "head": {"type": "ClsMixupHead", "num_classes": 10},
        "lam_margin": 0.0,
    }
    return lab.write(folder, kind, model=model, train_cfg={"max_epochs": 1}, **changes)


@pytest.mark.parametrize(("kind", "sources"), LEARNED.items())
def test_learned_masks_are_of_the_checkpoints_networks(lab, tmp_path, kind, sources):
    """A row as of any method; without a checkpoint of the weights that a run begins with."""
    path = write_learned(lab, tmp_path, kind)
    lab.train(path, tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "last.pth"
    state = torch.load(file, weights_only=True)["model"]
    other = tmp_path / "other.pth"
    torch.manual_seed(0)
    torch.save(
        {k: torch.randn_like(v) if k.startswith("mix_block.") and v.ndim > 1 else v for k, v in state.items()}, other
    )
    seen = [rows_of(path, 4, str(weights) if weights else None) for weights in (None, file, other)]
    for rows, notes in seen:
        assert [row.title for row in rows] == [kind.removesuffix("Classification").lower()] and notes == []
        assert len(rows[0].samples) == 4
        assert {len(sample.partners) for sample in rows[0].samples} <= set(range(sources))
        assert all(sample.share.shape == (8, 8) for sample in rows[0].samples)
    (begin,), (trained,), (changed,) = ([row.samples for row in rows] for rows, _ in seen)
    for a, b, c in zip(begin, trained, changed, strict=True):
        assert (a.own == c.own).all() and not np.allclose(b.share, c.share)
        assert np.ptp(c.share) > 0.01 or not c.partners
    out = tmp_path / "p.png"
    assert run_command("preview", [path, "--out", str(out), "--checkpoint", str(other)]) == 0
    picture = matplotlib.image.imread(out)[:, :, :3]
    assert picture.std() > 0.1
    lab.train(path, tmp_path / "again", vis_backends=[{"type": "LocalVisBackend"}], train_cfg__max_epochs=3,
              custom_hooks=[{"type": "MixPreviewHook", "interval": 2, "images": 2}])  # fmt: skip
    shown = sorted(int(p.stem.rpartition("_")[2]) for p in (tmp_path / "again").rglob("mix_preview_*.png"))
    assert shown == [0, 12]
