"""Resuming is exact on two processes with any loader at any place of an epoch, and with a loss scale."""

from typing import Any

import pytest
import torch

from openmix.engine.step import TrainStep

DATASET = {"type": "Synthetic", "num_classes": 10, "image_shape": [1, 8, 8], "length": 52}
PIPELINE = [{"type": "RandomCrop", "size": 8, "padding": 1}, {"type": "RandomHorizontalFlip"}]
LOADERS: dict[str, dict[str, Any]] = {
    "resident": {"type": "ResidentLoader", "batch_size": 4, "dataset": DATASET, "pipeline": PIPELINE},
    "torch": {"type": "TorchLoader", "batch_size": 4, "num_workers": 1, "dataset": DATASET, "pipeline": PIPELINE},
}


@pytest.fixture(scope="module")
def straight(lab, ranks, tmp_path_factory):
    """The config with a loader, and the work dir of its uninterrupted run on two processes: 12 steps, 6 an epoch."""
    done: dict[str, Any] = {}

    def run(loader: str) -> Any:
        if loader not in done:
            folder = tmp_path_factory.mktemp(loader)
            path = lab.write(
                folder,
                train_dataloader=LOADERS[loader],
                custom_hooks=[{"type": "EMAHook", "momentum": 0.3}],
                param_scheduler={"type": "CosineAnnealingLR", "by_epoch": False},
                optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.01}, "clip_grad": {"max_norm": 0.5}},
                default_hooks={"logger": {"interval": 5}},
            )
            ranks(2, "train_config", config=path, overrides={"work_dir": str(folder / "run")})
            done[loader] = path, folder / "run"
        return done[loader]

    return run


# ranks agree one step after the signal, so that these stop after the first, a middle and the last step of an epoch
PLACES = [pytest.param(step, marks=[] if step in (1, 5) else pytest.mark.slow) for step in (1, 3, 5, 6, 9, 10)]


@pytest.mark.parametrize("step", PLACES)
@pytest.mark.parametrize("loader", list(LOADERS))
def test_two_processes(lab, ranks, straight, tmp_path, loader, step):
    path, whole = straight(loader)
    overrides = {"work_dir": str(tmp_path / "cut")}
    stopped = ranks(2, "train_config", config=path, overrides=overrides, stops={"0": step, "1": step})
    assert [told["metrics"] for told in stopped] == [None, None]
    assert lab.state(tmp_path / "cut")["step"] == stopped[0]["last_step"] in (step, step + 1)
    ranks(2, "train_config", config=path, overrides=overrides, resume=True)
    lab.assert_same_run(whole, tmp_path / "cut")


@pytest.mark.parametrize("stop_after", [1, 4, 6])
def test_the_loss_scale(lab, tmp_path, monkeypatch, stop_after):
    """fp16 wants a GPU; its scaler works on a CPU as well, and doubles the scale every third step."""
    original = TrainStep.__init__

    def with_scaler(self: TrainStep, *arguments: Any) -> None:
        original(self, *arguments)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100, growth_interval=3)

    monkeypatch.setattr(TrainStep, "__init__", with_scaler)
    path = lab.write(tmp_path)
    lab.train(path, tmp_path / "whole")
    assert lab.train(path, tmp_path / "cut", stop_after=stop_after) is None
    middle = lab.state(tmp_path / "cut")["scaler"]
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert (middle["scale"], middle["_growth_tracker"]) == (2.0 ** (100 + stop_after // 3), stop_after % 3)
    assert lab.state(tmp_path / "cut")["scaler"]["scale"] == 2.0**104
