"""Checkpoints of other code bases become files by openmix's names, which evaluate as the networks they came from."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from openmix.convert.checkpoint import convert_checkpoint
from openmix.engine.config import load_config
from openmix.errors import UserError
from openmix.models.weights import fit_weights, read_weights
from openmix.registry import build_task

RMIX = {
    "backbone": {"type": "PreActResNet", "depth": 18},
    "head": {"type": "ClsMixupHead", "num_classes": 10, "init": "torch"},
}


CONFIGS = Path(__file__).parents[2] / "configs/classification/cifar100/rmix"


@pytest.mark.parametrize(
    ("config", "numbers", "names"),
    [  # with the parameters that R-Mix's own networks have for 100 classes
        ("preactresnet18_cutmixplus", 11_217_316, {"head.fc": "linear"}),
        ("wrn16_8_cutmixplus", 11_012_036, {"head.fc": "linear"}),
        ("wrn28_10_cutmixplus", 36_546_980, {"head.fc": "linear"}),
        ("resnext29_4_24_cutmixplus", 4_937_252, {"head.fc": "classifier", "layer": "stage_"}),
    ],
)
def test_what_rmix_publishes_fits_its_configs(config, numbers, names):
    task = build_task(load_config(str(CONFIGS / f"{config}.py")).model, device="meta")
    assert sum(p.numel() for p in task.parameters()) == numbers
    published = {}
    for key, value in task.state_dict().items():
        name = key.removeprefix("backbone.")
        for ours, theirs in names.items():
            name = name.replace(ours, theirs, 1) if name.startswith(ours) else name
        published[name] = torch.zeros((), dtype=value.dtype).expand(value.shape)
    fitted = fit_weights(published, task)
    assert fitted.weights.keys() == task.state_dict().keys() and fitted.own == ()


@pytest.fixture
def config(lab, tmp_path) -> str:
    shape = {"image_shape": [3, 16, 16]}
    loaders = {key: {"dataset": shape} for key in ("train_dataloader", "val_dataloader")}
    return lab.write(tmp_path, "rmix", model=RMIX, **loaders)


@pytest.fixture
def published(config, tmp_path):
    """A trained network, as R-Mix publishes it: its own names behind ``module.``, under ``state_dict``."""
    torch.manual_seed(0)
    task = build_task(load_config(config).model).eval()
    names = {key: key.removeprefix("backbone.").replace("head.fc", "linear") for key in task.state_dict()}
    path = tmp_path / "rmix.pth.tar"
    state = {f"module.{names[key]}": value for key, value in task.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 300, "best_acc1": torch.tensor(81.45)}, path)
    return task, path


@torch.no_grad()
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_what_is_written_is_the_network(published, config, tmp_path, suffix):
    task, old = published
    new = tmp_path / "new" / f"rmix.{suffix}"
    done = convert_checkpoint(str(old), str(new), config)
    assert (done.tensors, done.numbers) == (
        len(task.state_dict()),
        sum(value.numel() for value in task.state_dict().values()),
    )
    weights = read_weights(new)
    assert weights.keys() == task.state_dict().keys()
    torch.manual_seed(1)
    fresh = build_task(load_config(config).model).eval()
    images = torch.rand(2, 3, 16, 16)
    assert not torch.equal(fresh.predict(images), task.predict(images))
    fresh.load_state_dict(fit_weights(weights, fresh).weights)
    assert torch.equal(fresh.predict(images), task.predict(images))
    assert list(new.parent.iterdir()) == [new], "nothing is left beside it"


def test_where_it_came_from(published, config, tmp_path):
    _, old = published
    convert_checkpoint(str(old), str(tmp_path / "n.safetensors"), config)
    with safe_open(tmp_path / "n.safetensors", "pt") as file:
        meta = file.metadata()
    expected = {"format": "pt", "source": "rmix.pth.tar", "source_sha256": hashlib.sha256(old.read_bytes()).hexdigest()}
    assert meta == {**expected, "names": "plain"}
    convert_checkpoint(str(old), str(tmp_path / "n.pth"), config)
    assert torch.load(tmp_path / "n.pth", weights_only=True)["meta"] == meta


def test_a_head_of_other_classes_is_left_out(published, lab, tmp_path):
    _, old = published
    shape = {"image_shape": [3, 16, 16], "num_classes": 7}
    loaders = {key: {"dataset": shape} for key in ("train_dataloader", "val_dataloader")}
    seven = lab.write(tmp_path, "seven", model={**RMIX, "head": {**RMIX["head"], "num_classes": 7}}, **loaders)
    done = convert_checkpoint(str(old), str(tmp_path / "n.pth"), seven)
    assert not [key for key in read_weights(tmp_path / "n.pth") if key.startswith("head.")]
    assert any("the head has to be trained" in line for line in done.lines())


@pytest.mark.parametrize(
    ("out", "message"),
    [("n.pt", "written as .safetensors or .pth, not as n.pt"), ("/dev/null/n.pth", "cannot write /dev/null/n.pth")],
)
def test_places_that_cannot_be_written(published, config, tmp_path, out, message):
    with pytest.raises(UserError, match=message):
        convert_checkpoint(str(published[1]), str(tmp_path / out), config)


def test_another_network_writes_nothing(published, lab, tmp_path):
    out = tmp_path / "out" / "n.pth"
    with pytest.raises(UserError, match="another network than the config's"):
        convert_checkpoint(str(published[1]), str(out), lab.write(tmp_path))
    assert not out.parent.exists()
