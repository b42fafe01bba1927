"""The memory format of convolutions: who gets it, and that it changes rounding alone."""

import pytest
import torch

from openmix.engine.build import initialise, lies_channels_last
from openmix.errors import UserError
from openmix.registry import build_task

CONV = {
    "type": "Classification",
    "backbone": {"type": "ConvNet", "widths": [4, 8]},
    "head": {"type": "ClsHead", "num_classes": 3},
}
VIT = {**CONV, "backbone": {"type": "TimmBackbone", "name": "vit_tiny_patch16_224"}}
OPTIMIZER = {"type": "SGD", "lr": 0.1}


def config(model=CONV, amp=None, wanted=None, wrapper=None):
    return {
        "model": model,
        "train_cfg": {"max_epochs": 1, "channels_last": wanted},
        "optim_wrapper": {"optimizer": OPTIMIZER, "amp": amp},
        **({} if wrapper is None else {"model_wrapper_cfg": {"type": wrapper}}),
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, False),
        ({"amp": "bf16"}, True),
        ({"amp": "fp16"}, True),
        ({"wanted": True}, True),
        ({"amp": "bf16", "wanted": False}, False),
        ({"amp": "bf16", "wrapper": "FullyShard"}, False),
        ({"model": VIT, "amp": "bf16"}, False),
    ],
)
def test_who_gets_it(settings, expected):
    cfg = config(**settings)
    assert lies_channels_last(cfg, build_task(cfg["model"], device="meta")) is expected


def test_what_is_divided_cannot_have_it():
    cfg = config(wanted=True, wrapper="FullyShard")
    with pytest.raises(UserError, match=r"train_cfg.channels_last: FullyShard does not divide such weights"):
        lies_channels_last(cfg, build_task(CONV, device="meta"))


def test_weights_are_the_same_and_lie_otherwise():
    ordinary, last = (initialise(config(wanted=wanted), torch.device("cpu")) for wanted in (False, True))
    for (name, a), b in zip(ordinary.named_parameters(), last.parameters(), strict=True):
        assert torch.equal(a, b)
        if a.ndim == 4:
            assert a.is_contiguous() and b.is_contiguous(memory_format=torch.channels_last), name
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = last.backbone(images)
    assert maps[-1].is_contiguous(memory_format=torch.channels_last), "planes come in, maps follow the weights"
    torch.testing.assert_close(ordinary.backbone(images)[-1], maps[-1], rtol=1e-4, atol=2e-5)


def test_a_run_goes_on_to_the_bit(lab, tmp_path):
    """Stopped and resumed: momentum and averages lie as the weights do, in files as well."""
    settings = {
        "train_cfg": {"max_epochs": 2, "channels_last": True},
        "custom_hooks": [{"type": "EMAHook", "momentum": 0.3}],
    }
    path = lab.write(tmp_path, **settings)
    lab.train(path, tmp_path / "whole")
    lab.train(path, tmp_path / "cut", stop_after=3)
    lab.train(path, tmp_path / "cut", resume=True)
    lab.assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_run_may_change_its_format(lab, tmp_path):
    """A checkpoint of the one goes on in the other: rounding differs, and nothing else."""
    path = lab.write(tmp_path, train_cfg={"max_epochs": 2})
    lab.train(path, tmp_path / "whole")
    lab.train(path, tmp_path / "cut", stop_after=3)
    lab.train(path, tmp_path / "cut", resume=True, train_cfg__channels_last=True)
    for a, b in zip(*(lab.state(tmp_path / run)["model"].values() for run in ("whole", "cut")), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
