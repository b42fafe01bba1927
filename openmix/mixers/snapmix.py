"""SnapMix (Huang et al., AAAI 2021), arXiv:2012.04846. Authors' code: Shaoli-Huang/SnapMix.

Differs from the authors' code where a class activation map is flat: it counts as uniform here; there, it is divided by
zero, and both weights then follow the area of the own box. OpenMixup's port has the same formulas and fails if called.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.mixers.catalog import mixer
from openmix.mixers.cutmix import sample_centre
from openmix.ops.boxes import box_area, clip_boxes, inside_box
from openmix.ops.checks import check_positive
from openmix.ops.crop_plans import CropPlan, crop_plan
from openmix.ops.plans import check_batch, mix
from openmix.ops.random import sample_beta, sample_partner
from openmix.ops.target import Mixed

__all__ = ["activation_shares", "plan_snapmix", "snapmix"]


@mixer(
    "SnapMix",
    needs=("cam",),
    guide_pass="train",
    paper="Huang et al., AAAI 2021",
    link="https://arxiv.org/abs/2012.04846",
    lam="own class activation outside of the box",
)
def snapmix(
    images: Tensor,
    labels: Tensor,
    *,
    cam: Tensor,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
) -> Mixed:
    """Paste a box of the partner, resized, into another box of each image; labels weigh how much of a class is there.

    Both boxes are drawn as CutMix's is. The weights are **not** the visible shares: the own label's is the share of the
    own class activation map outside of the box, the partner's is the share of its map in the box that was cut out of
    it. They need not sum to 1. Where the two labels are the same, each is given the sum of both weights, as in the
    authors' code, so that the class counts up to four times. Where either box is empty, nothing is mixed.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        cam: floating (B, h, w), the class activation map of each image's own label, of any sign and scale; it is
            resized bilinearly to (H, W), its least value is made 0 and its sum 1.
        generator: a CPU generator; None takes torch's default one.
        alpha: each box has its own lam ~ Beta(alpha, alpha), > 0. Default 1.0, the authors' code; they recommend 5 for
            fine-tuning, and to mix half of the batches when training from scratch.

    Raises:
        ValueError: alpha <= 0, or tensors of another type or shape.

    >>> mixed = snapmix(torch.zeros(4, 3, 8, 8), torch.arange(4), cam=torch.rand(4, 2, 2))
    >>> mixed.target.weights.shape
    torch.Size([4, 2])
    """
    check_batch(images, labels)
    if cam.ndim != 3 or len(cam) != len(images) or not cam.is_floating_point():
        raise ValueError(f"cam must be floating point ({len(images)}, h, w), got {cam.dtype} {tuple(cam.shape)}")
    plan = plan_snapmix(len(images), (images.shape[2], images.shape[3]), generator=generator, alpha=alpha)
    plan = plan.to(images.device)
    shares = activation_shares(cam, plan.size)
    own = 1 - _mass(shares, plan.boxes)
    other = _mass(shares, plan.crop)[plan.partner]
    same = labels == labels[plan.partner]
    weights = torch.stack([own, other], dim=1)
    weights = torch.where(same[:, None], weights.sum(1, keepdim=True), weights)
    unmixed = torch.tensor([1.0, 0.0], device="cpu").to(images.device, non_blocking=True)
    weights = torch.where((box_area(plan.boxes) > 0)[:, None], weights, unmixed)
    return mix(images, labels, plan, weights)


def plan_snapmix(
    batch_size: int, size: tuple[int, int], *, generator: torch.Generator | None, alpha: float
) -> CropPlan:
    """Draw the two boxes and the partners for images of ``size`` (H, W); see :func:`snapmix`."""
    check_positive("alpha", alpha)
    lam = sample_beta(alpha, (2, 1), generator)
    side = (torch.tensor(size, device="cpu") * (1 - lam.double()).sqrt()).long()
    boxes = clip_boxes(sample_centre(2, size, generator), side, size)
    return crop_plan(sample_partner(batch_size, generator), boxes[:1], size, boxes[1:])


def activation_shares(cam: Tensor, size: tuple[int, int]) -> Tensor:
    """Return each pixel's share of a class activation map: float32 (B, H, W) for (B, h, w), >= 0, of sum 1.

    A map without relief counts as uniform.
    """
    cam = cam.detach().float()
    cam = cam - cam.amin((1, 2), keepdim=True)  # before it is resized as well, as rounding would give a flat map relief
    cam = F.interpolate(cam[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    cam = cam - cam.amin((1, 2), keepdim=True)
    highest = cam.amax((1, 2), keepdim=True)
    cam = torch.where(highest > 0, cam / highest, 1.0)  # by the largest first, as sums of large numbers overflow
    return cam / cam.sum((1, 2), keepdim=True)


def _mass(shares: Tensor, box: Tensor) -> Tensor:
    """Return the sum of shares (B, H, W) within a box (1, 4): (B,), at most 1."""
    inside = inside_box(box, (shares.shape[1], shares.shape[2]))[:, 0]
    return (shares * inside).sum((1, 2)).clamp(max=1)
