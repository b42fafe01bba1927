"""CropMix through DALI: view by view what torchvision gives for the drawn plan."""

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from openmix.data import DaliLoader
from openmix.data.dali import cropmix
from openmix.data.decoding import read_image
from openmix.data.transforms import cropmix_plan
from openmix.errors import UserError
from openmix.transforms import CropMix

pytest.importorskip("nvidia.dali", reason="DALI is not installed")
assert cropmix  # the stage under test


def by_hand(image: torch.Tensor, plans: cropmix_plan.CropMixPlans, i: int) -> torch.Tensor:
    """Return the mixture of image i: every crop by torchvision, in float, weighed or put where it owns the pixels."""
    size = plans.size
    mixture = torch.zeros(3, size, size)
    for k in range(4):
        y0, y1, x0, x1 = plans.boxes[i, k].tolist()
        crop = v2.functional.resize(image[:, y0:y1, x0:x1].float(), [size, size], antialias=True)[
            plans.permutation[i, k]
        ]
        share = plans.weights[i, k] if plans.pasted is None else plans.owner()[i] == k
        mixture += crop * share
    return mixture


@pytest.mark.parametrize(
    "transform",
    [
        CropMix(0.1, size=24, inter_aug=True),
        CropMix(0.3, number=2, size=20),
        CropMix(0.05, number=4, operation=1, size=24, inter_aug=True),
        CropMix(operation=1, size=25),
    ],
)
def test_mixtures_are_those_of_the_plan(photographs, monkeypatch, transform):
    drawn = []
    original = cropmix_plan.draw_plans
    monkeypatch.setattr(cropmix_plan, "draw_plans", lambda *a: drawn.append(original(*a)) or drawn[-1])
    batches = [batch for _, batch in DaliLoader(photographs, 11, pipeline=[transform]).epoch(0)]
    for batch, plans in zip(batches, drawn, strict=True):
        assert len(plans) == 11
        for i, image in enumerate(batch.images):
            expected = by_hand(read_image(photographs.name(int(batch.index[i]))), plans, i)
            # DALI's filter is coarser where noise is enlarged
            assert (image.float() - expected).abs().max() < 4
            assert (image.float() - expected).abs().mean() < 0.5


def test_the_settings_reach_the_plans(photographs):
    """Weights of mixup concentrate with mix_ratio: alike images where it is large, one crop where it is small."""
    one, all_ = (
        cropmix_plan.draw_plans(torch.full((2000,), 90), torch.full((2000,), 90), CropMix(mix_ratio=a, size=8).settings)
        for a in (0.01, 100.0)
    )
    assert np.mean(one.weights.amax(1).numpy() > 0.99) > 0.9
    assert np.mean(all_.weights.amax(1).numpy() > 0.8) < 0.01


def test_what_comes_after_goes_into_the_pipeline(photographs):
    with pytest.raises(UserError, match="DaliLoader's CropMix takes no post_aug"):
        DaliLoader(photographs, 4, pipeline=[CropMix(post_aug=v2.RandomHorizontalFlip())])
