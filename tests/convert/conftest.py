"""Old configs: OpenMixup's keys, written as its users write them, with bases and names of the file's own."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

DATA = """
source = dict(type="CIFAR10", root="data/cifar10/")
img_norm_cfg = dict(mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.3])
train_pipeline = [dict(type="RandomCrop", size=32, padding=4), dict(type="RandomHorizontalFlip")]
test_pipeline = [dict(type="ToTensor"), dict(type="Normalize", **img_norm_cfg)]
prefetch = True
data = dict(
    imgs_per_gpu=100,
    workers_per_gpu=4,
    train=dict(
        type="ClassificationDataset",
        data_source=dict(split="train", **source),
        pipeline=train_pipeline,
        prefetch=prefetch,
    ),
    val=dict(
        type="ClassificationDataset",
        data_source=dict(split="test", **source),
        pipeline=test_pipeline,
        prefetch=False,
    ),
)
evaluation = dict(initial=False, interval=1, imgs_per_gpu=50, workers_per_gpu=4, eval_param=dict(topk=(1, 5)))
checkpoint_config = dict(interval=10, max_keep_ckpts=1)
"""

RUNTIME = """
log_config = dict(interval=20, hooks=[dict(type="TextLoggerHook"), dict(type="TensorboardLoggerHook")])
train_cfg = {}
test_cfg = {}
optimizer_config = dict()
dist_params = dict(backend="nccl")
cudnn_benchmark = True
log_level = "INFO"
load_from = None
resume_from = None
workflow = [("train", 1)]
use_fp16 = False
fp16 = dict(loss_scale=dict(init_scale=512.0, mode="dynamic"))
sampler = "DistributedSampler"
"""

MODEL = """
_base_ = ["data.py", "runtime.py"]
model = dict(
    type="MixUpClassification",
    pretrained=None,
    alpha=1,
    mix_mode="cutmix",
    mix_args=dict(
        alignmix=dict(eps=0.1, max_iter=100),
        automix=dict(mask_adjust=0, lam_margin=0),
        fmix=dict(decay_power=3, size=(32, 32), max_soft=0.0, reformulate=False),
        manifoldmix=dict(layer=(0, 3)),
        resizemix=dict(scope=(0.1, 0.8), use_alpha=True),
    ),
    backbone=dict(type="ResNet_Mix_CIFAR", depth=18, num_stages=4, out_indices=(3,), style="pytorch"),
    head=dict(
        type="ClsHead",
        loss=dict(type="CrossEntropyLoss", loss_weight=1.0),
        with_avg_pool=True,
        multi_label=False,
        in_channels=512,
        num_classes=10,
    ),
)
optimizer = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy="CosineAnnealing", min_lr=0.0)
runner = dict(type="EpochBasedRunner", max_epochs=400)
"""

OldConfig = Callable[..., str]


@pytest.fixture
def old(tmp_path) -> OldConfig:
    """Write ResNet-18 on CIFAR-10 with its bases, and a file on top of it that says what is given; return its path."""
    folder = tmp_path / "old"
    folder.mkdir()
    for name, text in (("data", DATA), ("runtime", RUNTIME), ("r18", MODEL)):
        (folder / f"{name}.py").write_text(text)

    def write(name: str = "changed", **changes: Any) -> str:
        if not changes:
            return str(folder / "r18.py")
        path = folder / f"{name}.py"
        lines = [f"{key} = {value!r}" for key, value in changes.items()]
        path.write_text("\n".join(['_base_ = "r18.py"', *lines]) + "\n")
        return str(path)

    return write


@pytest.fixture
def flat(old) -> Callable[..., dict[str, Any]]:
    """The same as plain values, as OpenMixup's generator writes them into JSON."""
    from mmengine.config import Config

    def read(**changes: Any) -> dict[str, Any]:
        return json.loads(json.dumps(Config.fromfile(old(**changes)).to_dict()))

    return read


def write_json(folder: Path, content: dict[str, Any]) -> str:
    path = folder / "old.json"
    path.write_text(json.dumps(content))
    return str(path)


def replaced(content: Any, path: list[Any], value: Any) -> Any:
    """A copy of nested dicts and lists with another value in one place, or with none there where it is ``...``."""
    key, *rest = path
    copy = dict(content) if isinstance(content, dict) else list(content)
    if rest:
        copy[key] = replaced(content[key], rest, value)
    elif value is ...:
        del copy[key]
    else:
        copy[key] = value
    return copy


def places(value: Any) -> list[list[Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in ([key], *([key, *rest] for rest in places(inner)))]


@pytest.fixture
def damaged() -> Callable[[dict[str, Any], Any], Iterator[tuple[list[Any], dict[str, Any]]]]:
    """Yield each place of a config, whatever depth it has, and the config with another value there."""
    return lambda content, value: ((place, replaced(content, place, value)) for place in places(content))
