"""A mixer made of a run's checkpoint: what the run's student was shown, whatever the file says, wherever it is used."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import openmix
from openmix.commands import run_command
from openmix.engine.config import load_config
from openmix.engine.frozen import config_values
from openmix.engine.preprocess import Normalize
from openmix.engine.settings import Preprocessor
from openmix.errors import UserError
from openmix.registry import build_task

KINDS = {"automix": "AutoMix", "samix": "SAMix", "adautomix": "AdAutoMix"}


@pytest.fixture(scope="module")
def runs(lab, tmp_path_factory):
    """A short run of each task; its mix block is then made to say something."""
    folder = tmp_path_factory.mktemp("frozen")
    for name, title in KINDS.items():
        network = {"backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1}}
        network["head"] = {"type": "ClsMixupHead", "num_classes": 10}
        path = lab.write(folder, name, model={"type": f"{title}Classification", **network})
        lab.train(path, folder / name, train_cfg__max_epochs=1)
        last = folder / name / "checkpoints/last.pth"
        state = torch.load(last, weights_only=True)
        torch.manual_seed(0)
        for key, value in state["model"].items():
            if key.startswith("mix_block.") and value.ndim > 1:
                state["model"][key] = torch.randn_like(value)
        torch.save(state, folder / f"{name}.pth")
    return folder


def batch(n: int = 6):
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(n)


def task_of(runs: Path, name: str) -> nn.Module:
    task = build_task(load_config(str(runs / f"{name}.py")).model)
    task.load_state_dict(torch.load(runs / f"{name}.pth", weights_only=True)["model"])
    return task


@pytest.mark.parametrize("name", KINDS)
def test_it_mixes_as_the_run_did_for_its_student(runs, name):
    mixer = openmix.build_mixer(name, checkpoint=str(runs / f"{name}.pth"), lam_margin=0.0)
    assert (mixer.kind, mixer.needs, mixer.name) == ("input", (), name)
    images, labels = batch()
    mixed = mixer(images, labels, generator=torch.Generator().manual_seed(5))
    task = task_of(runs, name).eval()
    draw = task.mixers[0].draws(6, generator=torch.Generator().manual_seed(5))
    normalised = (images - 0.5) / 0.25  # as the run's config has it
    with torch.no_grad():
        shares = task.shares(task.mask_features(normalised), draw, (8, 8))
    torch.testing.assert_close(mixed.masks, shares)
    assert shares.std() > 0.001, "a constant would tell nothing"
    expected = draw.mixed(images, labels, shares)
    torch.testing.assert_close(mixed.images, expected.images)
    assert torch.equal(mixed.target.labels, expected.target.labels)
    assert torch.equal(mixed.target.weights, draw.lam.expand(6, -1))
    torch.testing.assert_close(mixed.apply(images), mixed.images)


def test_images_normalised_otherwise_are_told_by_their_range(runs):
    mixer = openmix.build_mixer("automix", checkpoint=str(runs / "automix.pth"))
    images, labels = batch()
    plain = mixer(images, labels, generator=torch.Generator().manual_seed(2))
    for mean, std in ((0.5, 0.25), (0.3, 0.7)):
        normal = Normalize(Preprocessor((mean,), (std,)))
        mixed = mixer(
            (images - mean) / std, labels, generator=torch.Generator().manual_seed(2), pixel_range=normal.pixel_range
        )
        torch.testing.assert_close(mixed.masks, plain.masks, rtol=1e-4, atol=1e-5)


def test_at_the_margin_it_blends_by_lambda(runs):
    mixer = openmix.build_mixer("automix", checkpoint=str(runs / "automix.pth"), lam_margin=0.5)
    mixed = mixer(*batch())
    assert mixed.masks.shape == (6, 2, 1, 1)
    assert torch.equal(mixed.masks[:, :, 0, 0], mixed.target.weights)


def test_copies_and_pickles_mix_alike_without_the_file(runs, tmp_path):
    file = tmp_path / "gone.pth"
    file.write_bytes((runs / "samix.pth").read_bytes())
    mixer = openmix.build_mixer("samix", checkpoint=str(file))
    file.unlink()
    images, labels = batch()
    mixes = [
        m(images, labels, generator=torch.Generator().manual_seed(3)).images
        for m in (mixer, copy.deepcopy(mixer), pickle.loads(pickle.dumps(mixer)), openmix.Choice([mixer]))
    ]
    assert all(torch.equal(mixes[0], other) for other in mixes[1:3])
    half = openmix.PerSample(mixer, 0.5)(images, labels, generator=torch.Generator().manual_seed(3))
    assert half.images.shape == images.shape


def test_the_networks_stay_as_they_are(runs):
    mixer = openmix.build_mixer("samix", checkpoint=str(runs / "samix.pth"))
    inner = mixer.function.mixer
    before = {k: v.clone() for part in (inner.trunk, inner.mix_block) for k, v in part.state_dict().items()}
    images, labels = batch()
    images.requires_grad_()
    mixed = mixer(images, labels)
    mixed.images.sum().backward()
    shown = torch.zeros(6, 8, 8).index_add(0, mixed.sources.flatten(), mixed.masks.expand(6, 2, 8, 8).flatten(0, 1))
    torch.testing.assert_close(images.grad, shown[:, None])  # where an image is seen, and nothing by way of the mask
    for part in (inner.trunk, inner.mix_block):
        assert not any(m.training for m in part.modules())
        assert all(p.grad is None and not p.requires_grad for p in part.parameters())
        assert all(torch.equal(before[k], v) for k, v in part.state_dict().items())


def test_it_is_a_mode_of_the_mixing_task(lab, runs, tmp_path, capsys):
    args = {"automix": {"checkpoint": str(runs / "automix.pth")}}
    path = lab.write(tmp_path, model={"mix_mode": ["automix", "cutmix"], "mix_args": args})
    assert run_command("check", [path, "--dry-run"]) == 0, capsys.readouterr().out
    lab.train(path, tmp_path / "whole", custom_hooks=[{"type": "EMAHook"}])
    lab.train(path, tmp_path / "cut", stop_after=5, custom_hooks=[{"type": "EMAHook"}])
    lab.train(path, tmp_path / "cut", resume=True, custom_hooks=[{"type": "EMAHook"}])
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize(
    ("args", "message"),
    [({}, "its own task, AutoMixClassification"), ({"automix": {"checkpoint": "no.pth"}}, "no.pth")],
    ids=["none", "missing"],
)
def test_a_mode_without_its_file_is_one_message(lab, tmp_path, capsys, args, message):
    path = lab.write(tmp_path, model={"mix_mode": "automix", "mix_args": args})
    assert run_command("check", [path]) == 2
    said = capsys.readouterr().out
    assert message in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("automix", "samix.pth", "was trained by SAMixClassification, and AutoMix takes one of AutoMixClassification"),
        ("automix", "missing.pth", "missing.pth"),
        ("automix", "cut.pth", "damaged"),
        ("automix", "foreign.pth", "not written by openmix's training"),
        ("automix", "plain.pth", "was trained by MixUpClassification"),
    ],
)
def test_other_files_are_refused_by_name(lab, runs, tmp_path, name, file, message):
    whole = (runs / "automix.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "samix.pth").write_bytes((runs / "samix.pth").read_bytes())
    torch.save({"state_dict": {"a.weight": torch.zeros(1)}}, tmp_path / "foreign.pth")
    if file == "plain.pth":
        lab.train(lab.write(tmp_path), tmp_path / "run", train_cfg__max_epochs=1)
        (tmp_path / "plain.pth").write_bytes((tmp_path / "run/checkpoints/last.pth").read_bytes())
    with pytest.raises(ValueError, match=re.escape(message)):
        openmix.build_mixer(name, checkpoint=str(tmp_path / file))


@pytest.mark.parametrize(
    "text",
    [
        "import os\nmodel = {}",
        "model = __import__('os').mkdir({canary!r})",
        "model = {'type': __import__('os').mkdir({canary!r})}",
        "model = [x for x in (1,)]",
        "model = {'type': 'os.mkdir', 'path': {canary!r}}",
        "model = " + "(" * 500,
        "model = 1\x00",
    ],
)
def test_a_config_that_is_code_is_text(runs, tmp_path, text):
    canary = tmp_path / "canary"
    state = torch.load(runs / "automix.pth", weights_only=True)
    state["config"] = text.replace("{canary!r}", repr(str(canary)))
    torch.save(state, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match=r"evil\.pth"):
        openmix.build_mixer("automix", checkpoint=str(tmp_path / "evil.pth"))
    assert not canary.exists()


def test_values_are_read_and_nothing_else():
    assert config_values("a = {'b': [1, -2.5, None, float('inf')]}\nc = 'x'") == {
        "a": {"b": [1, -2.5, None, float("inf")]},
        "c": "x",
    }
    for text in ("a = b", "a.b = 1", "a = f'{1}'", "a = float(1)", "a = float('1')"):
        with pytest.raises(UserError, match="its config is not data alone"):
            config_values(text)
