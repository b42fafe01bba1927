"""Pipelines: OpenMixup's names become transforms that run; what has no counterpart is left out and said."""

import pytest
import torch

from openmix.convert.pipeline import convert_pipeline
from openmix.convert.report import Report
from openmix.registry import TRANSFORMS, build

MEAN = (0.485, 0.456, 0.406)
POLICIES = [{"type": "Rotate", "magnitude_key": "angle", "magnitude_range": (0, 30)}]


def converted(*items, mean=MEAN):
    report = Report()
    pipeline, normalization = convert_pipeline(items, "p", report, mean)
    return pipeline, normalization, report


@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ({"type": "RandomResizedCrop", "size": 64, "scale": [0.8, 1], "interpolation": 3},
         {"type": "RandomResizedCrop", "size": 64, "scale": [0.8, 1], "interpolation": 3}),
        ({"type": "Resize", "size": 72, "interpolation": "bilinear"},
         {"type": "Resize", "size": 72, "interpolation": 2}),
        ({"type": "CenterCrop", "size": 64}, {"type": "CenterCrop", "size": 64}),
        ({"type": "RandomGrayscale", "p": 0.2}, {"type": "RandomGrayscale", "p": 0.2}),
        ({"type": "RandomAppliedTrans", "p": 0.8, "transforms": [{"type": "ColorJitter", "brightness": 0.4}]},
         {"type": "RandomApply", "p": 0.8, "transforms": [{"type": "ColorJitter", "brightness": 0.4}]}),
        ({"type": "RandAugment", "policies": POLICIES, "num_policies": 2, "total_level": 10, "magnitude_level": 9,
          "magnitude_std": 0.5, "hparams": {"pad_val": [104, 116, 124]}},
         {"type": "TimmAutoAugment", "policy": "rand-m9-mstd0.5-inc1"}),
        ({"type": "RandAugment", "policies": POLICIES, "num_policies": 3, "magnitude_level": 12, "total_level": 20,
          "magnitude_std": "inf"},
         {"type": "TimmAutoAugment", "policy": "rand-m6-n3-mstd101-inc1"}),
        ({"type": "RandAugment", "policies": POLICIES, "magnitude_level": 14, "total_level": 30},
         {"type": "TimmAutoAugment", "policy": "rand-m5-inc1"}),
    ],
    ids=lambda item: item["type"],
)  # fmt: skip
def test_transforms(old, expected):
    (new,), normalization, report = converted(old)
    assert new == expected and normalization is None
    assert report.of("no equivalent") == report.of("refused") == []
    image = build(new, TRANSFORMS)(torch.randint(256, (3, 80, 80), dtype=torch.uint8))
    assert image.dtype == torch.uint8


def test_what_is_moved_in_has_the_data_sets_colour_and_size():
    crop = {"type": "RandomResizedCrop", "size": 64}
    pipeline, _, _ = converted(crop, {"type": "RandAugment", "policies": POLICIES}, mean=(0.5, 0.25, 0.125))
    assert pipeline[1] == {
        "type": "TimmAutoAugment", "policy": "rand-m9-inc1", "img_size": 64, "mean": [0.5, 0.25, 0.125],
    }  # fmt: skip


def test_erasing():
    old = {"type": "RandomErasing_numpy", "erase_prob": 1.0, "mode": "rand", "min_area_ratio": 0.02,
           "max_area_ratio": 1 / 3, "fill_color": [104, 116, 124], "fill_std": [58, 57, 57]}  # fmt: skip
    (new,), _, report = converted(old)
    assert new == {
        "type": "RandomErasing",
        "p": 1.0,
        "scale": [0.02, 1 / 3],
        "ratio": [0.3, 3.3],
        "value": [104, 116, 124],
    }
    image = build(new, TRANSFORMS)(torch.zeros(3, 32, 32, dtype=torch.uint8))
    erased = image[:, (image != 0).all(0)]
    assert erased.shape[1] > 0 and (erased == torch.tensor([[104], [116], [124]])).all()
    assert [entry.key for entry in report.of("changed")] == ["p.0.type", "p.0.mode"]


def test_the_end_of_a_pipeline_is_the_normalisation():
    pipeline, normalization, report = converted(
        {"type": "ToTensor"}, {"type": "Normalize", "mean": MEAN, "std": (1, 2, 3)}
    )
    assert pipeline == [] and normalization == (MEAN, (1, 2, 3))
    assert [entry.verdict for entry in report.entries] == ["meaningless", "renamed"]


@pytest.mark.parametrize("kind", ["GaussianBlur", "AutoAugment", "Lighting", "CenterCropForEfficientNet"])
def test_openmixups_own(kind):
    """Some have names that mean another transform here."""
    pipeline, _, report = converted({"type": kind, "size": 3}, {"type": "CenterCrop", "size": 8})
    assert pipeline == [{"type": "CenterCrop", "size": 8}]
    (entry,) = report.of("no equivalent")
    assert entry.key == "p.0" and entry.text.startswith(f"{kind}: left out of the pipeline")


def test_arguments_that_torchvisions_transform_does_not_take():
    (new,), _, report = converted({"type": "CenterCrop", "size": 8, "backend": "cv2"})
    assert new == {"type": "CenterCrop", "size": 8}
    assert [entry.key for entry in report.of("no equivalent")] == ["p.0.backend"]
