"""No accuracy was bought with speed: 60 steps on real CIFAR-10 beside those of before the step was made faster.

The golden losses are of the last commit with torch's unfused SGD and its mean of losses image by image. Eager float32
begins with them, to the last digit but one; rounding then grows with the steps. Compiled and bf16 runs have tolerances.
Another processor, thread count or torch rounds otherwise from the start (and CutMix's box may be a pixel larger), so
there the tolerances are those of ``tests/models/test_golden_losses.py``.
"""

import json
from pathlib import Path

import pytest
import torch

from openmix.engine.distributed import World
from openmix.engine.records import device_name

GOLDEN = json.loads(Path(__file__).with_name("golden_steps.json").read_text())
REAL = Path(__file__).parents[3] / "shared/data/cifar10/unpack.py"
HEAD = {"type": "ClsMixupHead", "num_classes": 10}
BACKBONE = {"type": "ConvNet", "widths": [8, 16]}
MODELS = {
    "plain": {"type": "Classification", "backbone": BACKBONE, "head": HEAD},
    "mixed": {
        "type": "MixUpClassification", "backbone": BACKBONE, "head": HEAD, "mix_mode": ["mixup", "cutmix", "vanilla"]
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    if not REAL.is_file():
        pytest.skip("the real CIFAR-10 images are not at ../shared/data/cifar10")
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(REAL), str(folder)], check=True, capture_output=True)
    return folder


def losses(lab, model, data_root, folder, amp=None, compiled=False) -> list[float]:
    """The loss of each of 60 steps of 50 cropped and mirrored images."""
    config = {
        "model": MODELS[model],
        "train_dataloader": {
            "type": "ResidentLoader", "batch_size": 50,
            "pipeline": [{"type": "RandomCrop", "size": 32, "padding": 4}, {"type": "RandomHorizontalFlip"}],
            "dataset": {"type": "CIFAR10", "data_root": str(data_root), "split": "train"},
        },
        "val_dataloader": None,
        "optim_wrapper": {
            "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}, "amp": amp,
        },
        "param_scheduler": {"type": "CosineAnnealingLR", "by_epoch": False},
        "train_cfg": {"max_iters": 60, "compile": compiled},
        "default_hooks": {"logger": {"interval": 1}},
        "data_preprocessor": {"mean": [0.4914, 0.4822, 0.4465], "std": [0.247, 0.2435, 0.2616]},
        "randomness": {"seed": 0},
    }  # fmt: skip
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    lab.train(str(path), folder / "run")
    return [record["loss"] for record in lab.records(folder / "run") if record["split"] == "train"]


def elsewhere() -> bool:
    """Whether this is not where the golden losses are from."""
    here = {
        "torch": torch.__version__.split("+")[0],
        "device": device_name(World()),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }
    return here != GOLDEN["made_on"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipping serialization of:UserWarning")  # torch 2.6, as it compiles
@pytest.mark.parametrize(
    ("model", "settings", "first", "all_of_them", "last"),
    [
        ("mixed", {}, 1e-6, 5e-3, 1e-3),
        ("plain", {}, 1e-6, 5e-3, 1e-3),
        ("mixed", {"compiled": True}, 1e-5, 1e-2, 5e-3),
        ("mixed", {"amp": "bf16"}, 1e-3, 0.1, 2e-2),
    ],
    ids=["mixed", "plain", "compiled", "bf16"],
)
def test_losses_are_those_of_before(lab, data_root, tmp_path, model, settings, first, all_of_them, last):
    """To relative tolerances of the first five, of each, and of the mean of the last twenty."""
    seen, golden = losses(lab, model, data_root, tmp_path, **settings), GOLDEN[model]
    if elsewhere():
        first, all_of_them, last = 0.01, 0.2, 0.1
    assert seen[:5] == pytest.approx(golden[:5], rel=first)
    assert seen == pytest.approx(golden, rel=all_of_them)
    assert sum(seen[-20:]) == pytest.approx(sum(golden[-20:]), rel=last)
