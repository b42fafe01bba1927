"""The mask loss and the adjustment against loops over pixels; lambda' and the cosine against closed forms."""

import math

import pytest
import torch

from openmix.ops.learned_masks import adjust_shares, cosine_between, mask_loss, rescale_lam


def masks(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.5, 0.62, 1.0])
@pytest.mark.parametrize(("margin", "variance"), [(0.1, 0.0), (0.1, 2.0), (0.0, 0.0), (0.25, 1.0)])
def naive_mask_loss(own: list[float], lam: float, margin: float, variance: float) -> float:
    partner = [1 - value for value in own]  # the papers' and the authors' are of the partner's mask
    mean = sum(partner) / len(partner)
    return max(abs(1 - mean - lam) - margin, 0) - variance * sum((m - mean) ** 2 for m in partner) / len(partner)


@pytest.mark.parametrize("lam", [0.0, 0.2, 0.5, 0.62, 1.0])
@pytest.mark.parametrize(("margin", "variance"), [(0.1, 0.0), (0.1, 2.0), (0.0, 0.0), (0.25, 1.0)])
def test_mask_loss_is_the_papers_for_each_mask_and_the_authors_for_the_batch_as_one(lam, margin, variance):
    own = masks()
    of_each = [naive_mask_loss(mask.flatten().tolist(), lam, margin, variance) for mask in own]
    assert mask_loss(own, torch.tensor(lam), margin, variance).item() == pytest.approx(sum(of_each) / 3, abs=1e-6)
    of_all = naive_mask_loss(own.flatten().tolist(), lam, margin, variance)
    assert mask_loss(own.flatten(0, 1)[None], torch.tensor(lam), margin, variance).item() == pytest.approx(
        of_all, abs=1e-6
    )


def test_a_mask_of_one_image_alone_is_no_variance():
    own = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])
    lam = torch.tensor(0.5)
    assert mask_loss(own, lam, 0.1, 2.0).item() == pytest.approx(0.4)
    assert mask_loss(own.flatten(0, 1)[None], lam, 0.1, 2.0).item() == pytest.approx(-0.5)


def test_mask_loss_has_no_gradient_within_the_margin_and_pushes_to_lambda_beyond():
    for lam, sign in ((0.9, -1), (0.1, 1), (0.45, 0)):
        own = torch.full((2, 3, 3), 0.5, requires_grad=True)
        mask_loss(own, torch.tensor(lam)).backward()
        assert own.grad is not None
        assert own.grad.sign().eq(sign).all()


@pytest.mark.parametrize("lam", [0.0, 0.05, 0.3, 0.5, 0.95, 1.0])
def test_adjusted_masks_have_lambda_as_their_mean_image_by_image(lam):
    own = masks(1)
    own[2] = 0.5 * own[2] + 0.5
    adjusted = adjust_shares(own, torch.tensor(lam))
    assert ((adjusted >= -1e-6) & (adjusted <= 1 + 1e-6)).all()
    assert adjusted.mean((1, 2)).tolist() == pytest.approx([lam] * 3, abs=1e-6)
    for image, result in zip(own, adjusted, strict=True):  # what there is too much of is scaled, pixel by pixel
        mean = float(image.mean())
        for before, after in zip(image.flatten().tolist(), result.flatten().tolist(), strict=True):
            expected = before * lam / mean if mean > lam else 1 - (1 - before) * (1 - lam) / (1 - mean)
            assert after == pytest.approx(expected, abs=1e-6)


def test_masks_of_one_source_alone_stay_finite():
    own = torch.stack([torch.zeros(3, 3), torch.ones(3, 3)])
    for lam in (0.0, 0.4, 1.0):
        adjusted = adjust_shares(own, torch.tensor(lam))
        assert adjusted.isfinite().all()
        assert adjusted.mean((1, 2)).tolist() == pytest.approx([lam, lam], abs=1e-6)


@pytest.mark.parametrize("k", [0.0, 0.25, 1.0, 10.0])
def test_rescaled_lambda(k):
    lam = torch.linspace(0, 1, 11, dtype=torch.float64)
    expected = [(4 / 3 * x**3 - 2 * x**2 + (k + 1) * x) / (k + 1 - 2 / 3) for x in lam.tolist()]
    found = rescale_lam(lam, k)
    assert found.tolist() == pytest.approx(expected, abs=1e-12)
    assert found[[0, 5, 10]].tolist() == pytest.approx([0, 0.5, 1], abs=1e-12)
    assert (found.diff() >= -1e-12).all()
    assert found.tolist() == pytest.approx((1 - found.flip(0)).tolist(), abs=1e-12)  # the partner's is 1 less it


def test_lambda_itself_below_zero():
    lam = torch.tensor([0.3])
    assert rescale_lam(lam, -1.0) is lam


def test_cosine_between():
    for p in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        weight = (math.cos(math.pi * p) + 1) / 2
        assert cosine_between(0.1, 0.9, p) == pytest.approx(weight * 0.1 + (1 - weight) * 0.9, abs=1e-12)
