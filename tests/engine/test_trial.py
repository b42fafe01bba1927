"""What a dry run tries: all of a config but the amount and the size of its data."""

import pytest
import torch
from torch import nn

from openmix.engine import trial
from openmix.engine.distributed import World
from openmix.engine.run import dry_run
from openmix.errors import UserError
from openmix.registry import MODELS

SIZE = trial.DRY_SIZE


def loader(side: int, **changes):
    data = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, side, side], "length": 52}
    return {"type": "TorchLoader", "batch_size": 8, "dataset": data, **changes}


def sides(dry, key="train_dataloader"):
    return [part["pipeline"][-1].get("size") for part in trial._parts(dry[key]) if part.get("pipeline")]


def test_large_images_shrink_where_the_network_takes_small_ones(lab, tmp_path):
    small = lab.load(lab.write(tmp_path, train_dataloader=loader(SIZE)), tmp_path / "w")
    large = lab.load(lab.write(tmp_path, train_dataloader=loader(SIZE + 1)), tmp_path / "w")
    assert sides(trial.dry_config(small, "w")[0]) == []
    assert sides(trial.dry_config(large, "w")[0]) == [[SIZE, SIZE]]
    assert large.train_dataloader.get("pipeline") is None, "the config itself stays"


def test_a_network_for_one_size_keeps_it(lab, tmp_path):
    @MODELS.register_module(name="OneSize")
    class OneSize(nn.Module):
        out_channels = (1,)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            if images.shape[-1] != SIZE + 8:
                raise ValueError("one size only")
            return (images,)

    try:
        changes = {key: loader(SIZE + 8) for key in ("train_dataloader", "val_dataloader")}
        model = {"backbone": {"type": "OneSize"}, "mix_mode": "mixup"}
        cfg = lab.load(lab.write(tmp_path, model=model, **changes), tmp_path / "w")
        assert sides(trial.dry_config(cfg, "w")[0]) == []
        assert dry_run(cfg, str(tmp_path / "dry"), World()) == []
    finally:
        MODELS.module_dict.pop("OneSize")


def test_each_phase_gets_a_step(lab, tmp_path):
    phases = {"type": "PhasedLoader", "begins": [0, 5, 7], "loaders": [loader(8), loader(12), loader(16)]}
    cfg = lab.load(lab.write(tmp_path, train_dataloader=phases, train_cfg={"max_epochs": 9}), tmp_path / "w")
    dry, notes = trial.dry_config(cfg, str(tmp_path / "dry"))
    assert notes == [] and dry.train_cfg.max_iters == 3
    assert list(dry.train_dataloader["begins"]) == [0, 1, 2]
    assert [len(part["dataset"]) for part in dry.train_dataloader["loaders"]] == [trial.DRY_BATCH] * 3
    assert dry_run(cfg, str(tmp_path / "dry"), World()) == []
    steps = [(r["epoch"], r["step"]) for r in lab.records(tmp_path / "dry") if r["split"] == "train"]
    assert steps == [(1, 1), (2, 2), (3, 3)]


def test_every_phase_is_checked(lab, tmp_path):
    """The second phase's pipeline fails, and so do its classes; the check says so without training."""
    broken = {**loader(8), "pipeline": [{"type": "RandomCrop", "size": 99}]}
    other = {**loader(8), "dataset": {"type": "Synthetic", "num_classes": 7, "image_shape": [1, 8, 8], "length": 52}}
    for phase, message in ((broken, "the pipeline fails on an image"), (other, "data set has 7")):
        phases = {"type": "PhasedLoader", "begins": [0, 1], "loaders": [loader(8), phase]}
        with pytest.raises(UserError, match=message):
            lab.load(lab.write(tmp_path, train_dataloader=phases), tmp_path / "w")


@pytest.mark.parametrize(
    ("key", "loaders", "begins", "message"),
    [
        ("train_dataloader", [loader(8), loader(8)], [1, 2], "must rise from 0"),
        ("train_dataloader", [loader(8), loader(8)], [0], "an epoch for each loader"),
        ("train_dataloader", [], [], "there are 0"),
        ("train_dataloader", loader(8), [0], "takes a list of plain loaders"),
        ("val_dataloader", [loader(8)], [0], "is for train_dataloader"),
    ],
)
def test_phases_that_cannot_be(lab, tmp_path, key, loaders, begins, message):
    phases = {"type": "PhasedLoader", "begins": begins, "loaders": loaders}
    with pytest.raises(UserError, match=message):
        lab.load(lab.write(tmp_path, **{key: phases}), tmp_path / "w")


def test_phases_of_phases(lab, tmp_path):
    inner = {"type": "PhasedLoader", "begins": [0], "loaders": [loader(8)]}
    with pytest.raises(UserError, match="takes a list of plain loaders"):
        lab.load(lab.write(tmp_path, train_dataloader={**inner, "loaders": [inner]}), tmp_path / "w")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_workers": -1}, "num_workers must be at least 0, not -1"),
        (
            {"type": "ResidentLoader", "dataset": {"type": "ImageFolder", "data_root": "nowhere", "num_classes": 10}},
            "ResidentLoader needs a data set that is in memory, not ImageFolder; use TorchLoader, or CachedImages",
        ),
    ],
)
def test_what_a_loader_would_refuse_is_found_without_data(lab, tmp_path, changes, message):
    cfg = {"train_dataloader": loader(8, **changes), "model": {"head": {"num_classes": 10}}}
    with pytest.raises(UserError, match=message):
        lab.load(lab.write(tmp_path, **cfg), tmp_path / "w")


def moco(lab, folder, batch_size, views=2):
    """MoCo with BatchNorm in 4 parts, on a pipeline of so many views."""
    view = [{"type": "RandomHorizontalFlip"}]
    model = {
        "type": "MoCo",
        "backbone": {"type": "ConvNet", "widths": [4], "in_channels": 1},
        "probe": {"type": "ClsHead", "num_classes": 10},
        "projector": {"type": "ProjectionMLP", "channels": [8]},
        "splits": 4,
    }
    pipeline = [{"type": "Views", "views": [view] * views}]
    return lab.write(
        folder, train_dataloader={**loader(8, pipeline=pipeline), "batch_size": batch_size}, model=model
    )  # fmt: skip


def test_a_batch_that_a_task_cannot_divide_is_found_without_data(lab, tmp_path):
    with pytest.raises(UserError, match=r"batch_size: MoCo as configured needs a multiple of 4, got 10"):
        lab.load(moco(lab, tmp_path, 10), tmp_path / "w")


def test_too_few_views_are_found_without_data(lab, tmp_path):
    with pytest.raises(UserError, match=r"model: MoCo needs 2 views of each image, the pipeline gives 1"):
        lab.load(moco(lab, tmp_path, 8, views=1), tmp_path / "w")


def test_a_dry_run_takes_as_many_images_as_a_task_needs(lab, tmp_path):
    cfg = lab.load(moco(lab, tmp_path, 8), tmp_path / "w")
    assert trial.dry_config(cfg, "w")[0].train_dataloader.batch_size == 8
    assert dry_run(cfg, str(tmp_path / "dry"), World()) == []


def test_what_a_task_would_not_look_at_is_found_without_data(lab, tmp_path):
    pipeline = [{"type": "Views", "views": [[], []]}]
    with pytest.raises(UserError, match=r"2 views of each image, and MixUpClassification looks at 1"):
        lab.load(lab.write(tmp_path, train_dataloader=loader(8, pipeline=pipeline)), tmp_path / "w")
    with pytest.raises(UserError, match=r"val_dataloader: .*2 views of each image, and an evaluation looks at 1"):
        lab.load(lab.write(tmp_path, val_dataloader=loader(8, pipeline=pipeline)), tmp_path / "w")


def test_a_batch_of_one_that_a_norm_cannot_take_is_found_without_data(lab, tmp_path):
    path = moco(lab, tmp_path, 1)
    projector = {"type": "ProjectionMLP", "channels": [8, 8]}
    changes = {"model__splits": 1, "model__projector": projector}
    with pytest.raises(UserError, match=r"model: Expected more than 1 value per channel"):
        lab.load(path, tmp_path / "w", **changes)
    assert lab.load(path, tmp_path / "w", **changes, train_dataloader__batch_size=2)
