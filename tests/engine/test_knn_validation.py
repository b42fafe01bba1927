"""``val_cfg.knn``: the figure is scikit-learn's, on any number of processes, and nothing else of a run changes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from openmix.commands import run_command
from openmix.data import Synthetic
from openmix.engine.distributed import World
from openmix.engine.features import FeatureTable
from openmix.engine.run import dry_run
from openmix.engine.run import test as evaluate_checkpoint
from openmix.errors import UserError
from openmix.models import ClsHead, ConvNet
from openmix.registry import TASKS, build_task
from openmix.tasks import Classification, Task

KNN = {"knn": {"k": 5, "temperature": 0.2}}
NETWORK = {
    "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
    "head": {"type": "ClsHead", "num_classes": 10},
}
EMA = [{"type": "EMAHook", "momentum": 0.3}]
TRAINING = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 52}


def by_scikit_learn(weights: dict, crop: slice = slice(None)) -> float:
    """Return the kNN accuracy of a ConvNet with these weights, from images, in per cent."""
    task = build_task({"type": "Classification", **NETWORK})
    task.load_state_dict(weights)
    task.eval()
    features, labels = {}, {}
    for name, length in (("bank", 52), ("queries", 30)):
        data = Synthetic(10, (1, 8, 8), length)
        with torch.no_grad():
            images = (data.images[..., crop, crop].float() / 255 - 0.5) / 0.25
            features[name], labels[name] = task.backbone(images)[-1].mean((2, 3)).double().numpy(), data.labels.numpy()
    knn = KNeighborsClassifier(5, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.2))
    knn.fit(features["bank"], labels["bank"])
    return 100 * knn.score(features["queries"], labels["queries"])


@pytest.fixture(scope="module")
def with_and_without(lab, tmp_path_factory):
    """Two runs that differ in ``val_cfg`` alone: folder, config and work dirs."""
    folder = tmp_path_factory.mktemp("knn")
    changes = {"model": {"type": "Classification", **NETWORK}, "custom_hooks": EMA, "train_cfg": {"max_epochs": 3}}
    config = lab.write(folder, "knn", val_cfg=KNN, **changes)
    lab.train(config, folder / "knn")
    lab.train(lab.write(folder, "plain", **changes), folder / "plain")
    return folder, config


def test_every_validation_has_the_figure_and_nothing_else_changes(lab, with_and_without):
    folder, _ = with_and_without
    records, plain = lab.records(folder / "knn"), lab.records(folder / "plain")
    found = [record.pop("top1_knn") for record in records if record["split"] == "val"]
    assert len(found) == 3 and all(0 <= value <= 100 for value in found)
    assert records == plain
    one, other = lab.state(folder / "knn"), lab.state(folder / "plain")
    assert one["metrics"].pop("top1_knn") == found[-1]
    assert lab.differences(one, other) == []


def test_the_figure_is_scikit_learns_of_the_averaged_weights(lab, with_and_without):
    folder, _ = with_and_without
    state = lab.state(folder / "knn")
    averaged = {k.removeprefix("module."): v for k, v in state["ema"].items() if k.startswith("module.")}
    expected = by_scikit_learn(averaged)
    assert state["metrics"]["top1_knn"] == pytest.approx(expected)
    assert expected > 30  # these images are made to be told apart
    assert by_scikit_learn(state["model"]) != pytest.approx(expected)


def test_training_on_two_processes_says_what_one_then_finds(lab, tmp_path, ranks):
    config = lab.write(tmp_path, val_cfg=KNN, train_dataloader={"batch_size": 4})
    overrides = {"work_dir": str(tmp_path / "run")}
    first, second = ranks(2, "train_config", config=config, overrides=overrides)
    alone = evaluate_checkpoint(lab.load(config, tmp_path), str(tmp_path / "run/checkpoints/last.pth"), World())
    assert first["metrics"] == second["metrics"] == alone


def test_test_says_the_same_on_any_number_of_processes(lab, with_and_without, ranks):
    """Of 3 processes the batches of 20 leave one without any of the 30 images."""
    folder, config = with_and_without
    checkpoint = str(folder / "knn/checkpoints/last.pth")
    expected = lab.state(folder / "knn")["metrics"]
    for size, batch in ((1, 7), (2, 7), (3, 7)):
        overrides = {"val_dataloader.batch_size": batch, "work_dir": str(folder / "unused")}
        found = ranks(size, "test_checkpoint", config=config, overrides=overrides, checkpoint=checkpoint)
        assert found == [expected] * size
    overrides = {"val_dataloader.batch_size": 20}
    (alone,) = ranks(1, "test_checkpoint", config=config, overrides=overrides, checkpoint=checkpoint)
    assert ranks(3, "test_checkpoint", config=config, overrides=overrides, checkpoint=checkpoint) == [alone] * 3


def test_the_bank_is_seen_through_the_validation_pipeline(lab, tmp_path):
    crop = [{"type": "CenterCrop", "size": 4}]
    val = {"type": "TorchLoader", "batch_size": 7, "dataset": {**TRAINING, "length": 30}, "pipeline": crop}
    model = {"type": "Classification", **NETWORK}
    metrics = lab.train(lab.write(tmp_path, val_cfg=KNN, val_dataloader=val, model=model), tmp_path / "run")
    assert metrics["top1_knn"] == pytest.approx(by_scikit_learn(lab.state(tmp_path / "run")["model"], slice(2, 6)))


def test_of_phases_the_last_ones_set_is_the_bank(lab, tmp_path):
    first = {"type": "ResidentLoader", "batch_size": 4, "dataset": {**TRAINING, "length": 8}}
    second = {"type": "ResidentLoader", "batch_size": 4, "dataset": TRAINING}
    phased = {"type": "PhasedLoader", "loaders": [first, second], "begins": [0, 1]}
    model = {"type": "Classification", **NETWORK}
    config = lab.write(tmp_path, val_cfg=KNN, train_dataloader=phased, model=model)
    metrics = lab.train(config, tmp_path / "run")
    assert metrics["top1_knn"] == pytest.approx(by_scikit_learn(lab.state(tmp_path / "run")["model"]))


def test_best_by_knn(lab, tmp_path):
    best = {"checkpoint": {"save_best": "top1_knn"}, "logger": {"interval": 4}}
    config = lab.write(tmp_path, val_cfg=KNN, default_hooks=best, train_cfg={"max_epochs": 3})
    lab.train(config, tmp_path / "run")
    figures = [r["top1_knn"] for r in lab.records(tmp_path / "run") if r["split"] == "val"]
    assert lab.state(tmp_path / "run", "best.pth")["metrics"]["top1_knn"] == max(figures)
    assert lab.state(tmp_path / "run")["best"] == max(figures)
    with pytest.raises(UserError, match=r"save_best must be .*got 'top1_knn'"):
        lab.load(lab.write(tmp_path, "none", default_hooks=best), tmp_path / "none")


def test_stopped_and_resumed_it_is_the_same_run(lab, tmp_path):
    config = lab.write(tmp_path, val_cfg=KNN)
    lab.train(config, tmp_path / "whole")
    assert lab.train(config, tmp_path / "parts", stop_after=8) is None
    lab.train(config, tmp_path / "parts", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert "top1_knn" in lab.records(tmp_path / "parts")[-1]


def test_without_val_cfg_there_is_no_figure(lab, tmp_path):
    config = lab.write(tmp_path, val_cfg={})
    assert "top1_knn" not in lab.train(config, tmp_path / "run")


def test_a_dry_run_takes_as_many_neighbours_as_there_are(lab, tmp_path):
    config = lab.write(tmp_path, val_cfg={"knn": {}})  # 200
    assert dry_run(lab.load(config, tmp_path / "run"), str(tmp_path / "dry"), World()) == []
    assert 0 <= lab.records(tmp_path / "dry")[-1]["top1_knn"] <= 100


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"val_cfg": {"knn": {"k": 0}}}, "k must be at least 1"),
        ({"val_cfg": {"knn": {"temperature": 0.0}}}, "temperature must be above 0"),
        ({"val_cfg": {"knn": {"neighbours": 3}}}, r"val_cfg.knn.*neighbours"),
        ({"val_cfg": {"kn": {}}}, r"val_cfg.*kn"),
        ({"val_cfg": {"knn": {"features": "head"}}}, r"val_cfg.knn.features"),
        ({"val_cfg": {"knn": {"features": "projection"}}}, r"MixUpClassification has no features='projection'"),
        ({"val_cfg": KNN, "val_dataloader": None}, "no val_dataloader"),
    ],
)
def test_what_cannot_be_is_told_when_the_config_is_loaded(lab, tmp_path, changes, named):
    with pytest.raises(UserError, match=named):
        lab.load(lab.write(tmp_path, **changes), tmp_path / "run")


def test_more_neighbours_than_training_images(lab, tmp_path):
    config = lab.write(tmp_path, val_cfg={"knn": {"k": 53}})
    with pytest.raises(UserError, match="k=53 is more than the 52 training images"):
        lab.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    lab.train(config, tmp_path / "run", val_cfg__knn__k=52)


def test_features_that_no_memory_holds():
    table = FeatureTable(10**7, World())
    with pytest.raises(UserError, match=r"values of 10,000,000 images take 37,253 GiB, more than"):
        table.put(torch.arange(2), torch.zeros(2, 10**6), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(UserError, match=r"must be \(B, C\), one vector an image; got \(2, 3, 1, 1\)"):
        FeatureTable(4, World()).put(torch.arange(2), torch.zeros(2, 3, 1, 1), torch.arange(2))


class Projecting(Classification):
    """Has projections, of one value: the sign of the mean pixel."""

    def projections(self, images):
        return images.mean((1, 2, 3))[:, None]


class Bare(Task):
    """Can predict and no more."""

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head, self.num_classes = backbone, head, 10

    def predict(self, images):
        return self.head(self.backbone(images)[-1].mean((2, 3)))


@pytest.fixture(scope="module", autouse=True)
def registered():
    for task in (Projecting, Bare):
        TASKS.register_module(module=task)
    yield
    for task in (Projecting, Bare):
        TASKS.module_dict.pop(task.__name__)


def test_projections(lab, tmp_path):
    knn = {"knn": {"k": 52, "features": "projection"}}
    config = lab.write(tmp_path, val_cfg=knn, model={"type": "Projecting", **NETWORK})
    metrics = lab.train(config, tmp_path / "run")
    bank, val = Synthetic(10, (1, 8, 8), 52), Synthetic(10, (1, 8, 8), 30)
    sign = [(data.images.float().mean((1, 2, 3)) / 255 > 0.5) for data in (bank, val)]
    most = [bank.labels[sign[0] == s].bincount(minlength=10).argmax() for s in (False, True)]
    right = [bool(most[int(s)] == label) for s, label in zip(sign[1], val.labels, strict=True)]
    assert metrics["top1_knn"] == pytest.approx(100 * sum(right) / 30)


def test_a_task_without_features(lab, tmp_path):
    with pytest.raises(UserError, match=r"Bare has no features='backbone', as it has no method features\(images\)"):
        lab.load(lab.write(tmp_path, val_cfg=KNN, model={"type": "Bare", **NETWORK}), tmp_path / "run")


def test_classification_predicts_by_its_features():
    torch.manual_seed(0)
    task, images = Classification(ConvNet([4, 8], in_channels=1), ClsHead(10, 8)), torch.rand(3, 1, 8, 8)
    assert torch.equal(task.features(images), task.backbone(images)[-1].mean((2, 3)))
    assert torch.equal(task.predict(images), task.head.fc(task.features(images)))


@pytest.mark.skipif(not hasattr(torch.cpu.Stream, "record_event"), reason="FSDP2 of this torch is for GPUs alone")
def test_of_sharded_weights_the_whole_are_evaluated(lab, tmp_path, ranks):
    vit = {
        "type": "TimmBackbone", "name": "vit_tiny_patch16_224", "img_size": 8, "in_channels": 1,
        "model_args": {"patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 3},
    }  # fmt: skip
    changes = {"model": {"backbone": vit}, "model_wrapper_cfg": {"type": "FullyShard"}, "custom_hooks": EMA}
    config = lab.write(tmp_path, val_cfg=KNN, train_dataloader={"batch_size": 4}, **changes)
    first, second = ranks(2, "train_config", config=config, overrides={"work_dir": str(tmp_path / "run")})
    alone = evaluate_checkpoint(lab.load(config, tmp_path), str(tmp_path / "run/checkpoints/last.pth"), World())
    assert first["metrics"] == second["metrics"] == alone


@pytest.fixture
def spoilt(lab, tmp_path):
    """A config over folders of images: two for training are cut off, and one for validation."""
    rng = np.random.default_rng(0)
    for split, count, spoilt in (("train", 16, 2), ("val", 8, 1)):
        for i in range(count):
            path = tmp_path / split / f"class{i % 2}" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
            if i < spoilt:
                path.write_bytes(path.read_bytes()[:40])
    loaders = {
        f"{split}_dataloader": {
            "type": "TorchLoader",
            "batch_size": 4,
            "dataset": {"type": "ImageFolder", "data_root": str(tmp_path / split)},
        }
        for split in ("train", "val")
    }
    backbone, head = {**NETWORK["backbone"], "in_channels": 3}, {**NETWORK["head"], "num_classes": 2}
    model = {"type": "Classification", "backbone": backbone, "head": head}
    return lab.write(tmp_path, "spoilt", **loaders, model=model, val_cfg=KNN, train_cfg={"max_epochs": 1})


def test_damaged_images_are_those_of_the_set_that_is_evaluated(lab, spoilt, tmp_path):
    """A validation's are the validation set's; a probe looks at both sets several times, and counts an image once."""
    metrics = lab.train(spoilt, tmp_path / "run")
    assert metrics["damaged"] == 1
    out = tmp_path / "figures.json"
    last = str(tmp_path / "run/checkpoints/last.pth")
    assert run_command("probe", [spoilt, last, "--knn", "--baselines", "--out", str(out)]) == 0
    figures = json.loads(out.read_text())
    assert len(figures["rows"]) == 3
    assert figures["damaged"] == 3
