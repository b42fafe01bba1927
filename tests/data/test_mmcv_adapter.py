"""mmcv's transforms by name: mmcv itself says what they do; a stand-in serves where it is not installed."""

import importlib
import pickle
import random
import sys
import types
from typing import Any

import numpy as np
import pytest
import torch

from openmix.data import Synthetic, TorchLoader
from openmix.data.transforms import mmcv_adapter
from openmix.data.transforms.mmcv_adapter import MmcvTransform, mmcv_transform
from openmix.engine.check import find_problems
from openmix.errors import UserError
from openmix.registry import TRANSFORMS, build, lookup

IMAGE = torch.randint(256, (3, 14, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def mmcv() -> Any:
    """mmcv.transforms."""
    pytest.importorskip("mmcv")
    return importlib.import_module("mmcv.transforms")


def its_own_way(transform: Any, image: torch.Tensor) -> torch.Tensor:
    """What mmcv does to an image that it loaded, blue first, and Pillow's user sees, red first."""
    array = np.ascontiguousarray(image.numpy().transpose(1, 2, 0)[:, :, ::-1])
    results = transform({"img": array, "img_shape": array.shape[:2], "ori_shape": array.shape[:2]})
    return torch.from_numpy(np.ascontiguousarray(results["img"][:, :, ::-1].transpose(2, 0, 1)))


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)


CONFIGS = [
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "Resize", "scale": [32, 24]},
    {"type": "Resize", "scale": (9, 30), "keep_ratio": True, "interpolation": "bicubic"},
    {"type": "CenterCrop", "crop_size": 8},
    {"type": "Pad", "size": (30, 30), "pad_val": {"img": (1, 2, 3)}},
    {"type": "RandomGrayscale", "prob": 0.7, "keep_channels": True, "color_format": "bgr"},
    {"type": "RandomResize", "scale": (40, 20), "ratio_range": (0.5, 2.0)},
    {"type": "RandomChoiceResize", "scales": [(8, 8), (12, 16)]},
]


class TestByName:
    """A pipeline's ``mmcv.NAME``."""

    @pytest.mark.parametrize("cfg", CONFIGS, ids=lambda cfg: cfg["type"])
    def test_it_does_what_mmcv_does(self, mmcv, cfg):
        transform = build({**cfg, "type": f"mmcv.{cfg['type']}"}, TRANSFORMS)
        oracle = mmcv.TRANSFORMS.build(dict(cfg))
        for seed in range(6):
            seed_all(seed)
            expected = its_own_way(oracle, IMAGE)
            seed_all(seed)
            found = transform(IMAGE.clone())
            assert found.dtype == torch.uint8 and torch.equal(found, expected)

    def test_the_order_of_channels(self, mmcv):
        """By weights for blue, green and red, in mmcv's order."""
        grey = {"type": "RandomGrayscale", "prob": 1.0, "keep_channels": True, "channel_weights": (0.114, 0.587, 0.299)}
        luma = 0.299 * IMAGE[0] + 0.587 * IMAGE[1] + 0.114 * IMAGE[2]
        assert (MmcvTransform(grey)(IMAGE).float() - luma).abs().max() <= 1
        by_config = build({"type": "MmcvTransform", "transform": grey, "channel_order": "bgr"}, TRANSFORMS)
        assert torch.equal(by_config(IMAGE), MmcvTransform(grey)(IMAGE))
        assert (MmcvTransform(grey, "rgb")(IMAGE).float() - luma).abs().max() > 20

    def test_transforms_inside(self, mmcv):
        inner = [{"type": "mmcv.RandomFlip", "prob": 0.5}, {"type": "mmcv.Resize", "scale": (6, 7)}]
        cfg = {"type": "mmcv.RandomApply", "prob": 0.6, "transforms": inner}
        plain = [{**part, "type": part["type"].removeprefix("mmcv.")} for part in inner]
        oracle = mmcv.TRANSFORMS.build({"type": "RandomApply", "prob": 0.6, "transforms": plain})
        transform = build(cfg, TRANSFORMS)
        shapes = set()
        for seed in range(8):
            seed_all(seed)
            expected = its_own_way(oracle, IMAGE)
            seed_all(seed)
            found = transform(IMAGE)
            assert torch.equal(found, expected)
            shapes.add(tuple(found.shape))
        assert shapes == {(3, 14, 20), (3, 7, 6)}

    def test_inside_mmcvs_others_are_refused(self, mmcv):
        """torchvision's would find no tensor in mmcv's dictionary and leave it as it is."""
        with pytest.raises(
            UserError, match=r"inside mmcv.RandomChoice only mmcv's transforms work, .*, not ColorJitter"
        ):
            build({"type": "mmcv.RandomChoice", "transforms": [[{"type": "ColorJitter", "hue": 0.5}]]}, TRANSFORMS)

    def test_what_users_register_is_found(self, mmcv):
        @mmcv.TRANSFORMS.register_module(name="Darker")
        class Darker(mmcv.BaseTransform):
            def __init__(self, by: int) -> None:
                self.by = by

            def transform(self, results):
                return {**results, "img": results["img"] // self.by}

        try:
            assert torch.equal(build({"type": "mmcv.Darker", "by": 2}, TRANSFORMS)(IMAGE), IMAGE // 2)
        finally:
            mmcv.TRANSFORMS.module_dict.pop("Darker")

    def test_a_config_is_checked_against_its_signature(self, mmcv):
        def problems(**transform: Any) -> list[tuple[str, str]]:
            dataset = {"type": "Synthetic", "num_classes": 2, "image_shape": [3, 8, 8], "length": 4}
            loader = {"type": "TorchLoader", "batch_size": 2, "dataset": dataset, "pipeline": [transform]}
            found = find_problems({"train_dataloader": loader})
            return [(key, what) for key, what in found if "pipeline" in key]

        key = "train_dataloader.pipeline.0"
        assert problems(type="mmcv.RandomFlip", prob=0.5) == []
        assert problems(type="mmcv.RandomFlip", probe=0.5) == [
            (f"{key}.probe", "mmcv.RandomFlip takes no 'probe'; did you mean 'prob'?")
        ]
        assert problems(type="mmcv.CenterCrop") == [(f"{key}.crop_size", "mmcv.CenterCrop needs it")]
        assert problems(type="mmcv.RandomFlap")[0] == (
            f"{key}.type", "mmcv registers no transform 'RandomFlap'; did you mean 'mmcv.RandomFlip'?"
        )  # fmt: skip
        assert "pipeline of openmix: data_preprocessor normalises" in problems(type="mmcv.Normalize")[0][1]

    def test_workers_do_not_change_the_images(self, mmcv, assert_same_batches):
        found = []
        for workers in (0, 2):
            pipeline = [build({"type": "mmcv.RandomFlip", "prob": 0.5}, TRANSFORMS)]
            loader = TorchLoader(Synthetic(3, (3, 9, 8), 20), 5, pipeline=pipeline, num_workers=workers)
            found.append(list(loader.epoch(0)))
            loader.close()
        assert_same_batches(*found)

    def test_it_travels_to_a_spawned_process(self, mmcv):
        transform = pickle.loads(pickle.dumps(build({"type": "mmcv.CenterCrop", "crop_size": 4}, TRANSFORMS)))
        assert torch.equal(transform(IMAGE), IMAGE[:, 5:9, 8:12])


class TestWithoutMmcv:
    """A stand-in for its registry, and its absence."""

    @pytest.fixture(autouse=True)
    def forgotten(self):
        mmcv_transform.cache_clear()
        yield
        mmcv_transform.cache_clear()

    def test_it_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "mmcv", None)
        monkeypatch.setitem(sys.modules, "mmcv.transforms", None)
        with pytest.raises(
            UserError, match=r"^mmcv's transforms need mmcv and OpenCV: pip install 'openmix\[mmcv\]' \("
        ):
            lookup("mmcv.RandomFlip", TRANSFORMS)

    def test_a_stand_in(self, monkeypatch):
        class Registry:
            def __init__(self, **entries: Any) -> None:
                self.module_dict = entries
                self.get = entries.get

            def build(self, cfg: dict[str, Any]) -> Any:
                return self.module_dict[cfg.pop("type")](**cfg)

        def blue_down(by: int) -> Any:
            def transform(results: dict[str, Any]) -> dict[str, Any]:
                assert results["img_shape"] == results["ori_shape"] == (14, 20) == results["img"].shape[:2]
                results["img"][..., 0] //= by
                return results

            return transform

        module = types.ModuleType("mmcv.transforms")
        module.TRANSFORMS = Registry(BlueDown=blue_down)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mmcv", types.ModuleType("mmcv"))
        monkeypatch.setitem(sys.modules, "mmcv.transforms", module)
        before = IMAGE.clone()
        found = build({"type": "mmcv.BlueDown", "by": 4}, TRANSFORMS)(IMAGE)
        assert torch.equal(found[:2], IMAGE[:2]) and torch.equal(found[2], IMAGE[2] // 4)
        assert torch.equal(IMAGE, before), "the data set's memory is not written to"

    @pytest.mark.parametrize(
        ("result", "message"),
        [
            (None, "gives no image: expected a dictionary with an array 'img'"),
            ({}, "gives no image"),
            ({"img": torch.zeros(1)}, "gives no image"),
            ({"img": np.zeros((4, 4, 3), np.float32)}, r"gives float32 \(4, 4, 3\); expected uint8 \(H, W, C\), which"),
            ({"img": np.zeros(4, np.uint8)}, r"gives uint8 \(4,\)"),
        ],
    )
    def test_what_is_no_image_is_refused(self, result, message):
        with pytest.raises(UserError, match=message):
            MmcvTransform(lambda _: result)(IMAGE)

    def test_a_grey_result_keeps_its_channel(self):
        found = MmcvTransform(lambda results: {"img": results["img"][..., 1]})(IMAGE)
        assert torch.equal(found, IMAGE[1:2])

    def test_options(self):
        with pytest.raises(UserError, match="channel_order must be 'bgr' or 'rgb', not 'gbr'"):
            MmcvTransform(lambda results: results, channel_order="gbr")  # pyright: ignore[reportArgumentType]
        for name in mmcv_adapter.NOT_TAKEN:
            with pytest.raises(
                UserError, match=f"^mmcv.{name} has no place in a pipeline of openmix: .*; leave it out"
            ):
                lookup(f"mmcv.{name}", TRANSFORMS)


def test_naming_none_imports_nothing():
    import subprocess

    code = "import sys, openmix.registry; sys.exit('mmcv' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
