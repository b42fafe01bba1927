"""FMix (Harris et al., 2020), arXiv:2002.12047. Authors' code: ecs-vlc/FMix.

Differs from the authors' code in two ways. The label weights are the mask's exact mean, where theirs are the lambda
that was drawn, up to a pixel away; and masks are made for any image size. OpenMixup's port (preset 'openmixup') also
redraws partners where an image would be its own; its labels are the drawn lambda, that pixel away, here too not kept.
"""

import torch
from torch import Tensor

from openmix.mixers.catalog import mixer
from openmix.ops.checks import check_flag, check_integer, check_number, check_positive
from openmix.ops.plans import BlendPlan, MaskPlan, check_batch, mix
from openmix.ops.random import sample_beta, sample_integers, sample_partner
from openmix.ops.target import Mixed

__all__ = ["fmix", "plan_fmix"]


@mixer(
    "FMix",
    presets={"openmixup": {"tries": 10}},
    paper="Harris et al., 2020",
    link="https://arxiv.org/abs/2002.12047",
    lam="mean of the mask",
    hints={"size": "; leave it out: masks have the size of the images"},
)
def fmix(
    images: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator | None = None,
    alpha: float = 1.0,
    decay_power: float = 3.0,
    max_soft: float = 0.0,
    reformulate: bool = False,
    per_sample: bool = False,
    tries: int = 1,
) -> Mixed:
    """Show own pixels where a random smooth field is high, and the partner's elsewhere.

    The field is noise whose Fourier amplitudes fall as 1 / f ** decay_power; its highest ``lam * H * W`` pixels are the
    own ones, which makes one or a few blobs of any shape.

    Args:
        images: floating (B, C, H, W).
        labels: int64 (B,).
        generator: a CPU generator; None takes torch's default one.
        alpha: lam ~ Beta(alpha, alpha), > 0. Default 1.0, the authors'.
        decay_power: how fast amplitudes fall with frequency, > 0: higher is smoother. Default 3, the authors'.
        max_soft: in [0, 0.5]; the share of pixels, on either side of the edge, over which the mask falls linearly from
            1 to 0. At most min(lam, 1 - lam) of it is used. Default 0, a sharp edge, the authors'.
        reformulate: draw lam ~ Beta(alpha + 1, alpha) and give the own label the whole weight, which has the same
            expected loss: labels are then not what is visible. Default False, the authors'.
        per_sample: draw a mask for each image; False, the authors' code, draws one for the batch. The noise of so many
            masks is drawn on the images' device, so that equal seeds give equal masks on one kind of device only.
        tries: how many permutations of the batch to draw, at most, for one that gives no image itself as its partner.
            Default 1, the authors': partners are a uniform permutation. OpenMixup's is 10.

    Raises:
        ValueError: a value out of range, or tensors of another type or shape.

    >>> mixed = fmix(torch.zeros(4, 3, 8, 8), torch.arange(4), generator=torch.Generator().manual_seed(0))
    >>> bool((mixed.mask.mean((1, 2, 3)) == mixed.target.weights[:, 0]).all())
    True
    """
    check_batch(images, labels)
    height, width = images.shape[2:]
    plan = plan_fmix(
        len(images),
        (height, width),
        generator=generator,
        alpha=alpha,
        decay_power=decay_power,
        max_soft=max_soft,
        reformulate=reformulate,
        tries=tries,
        per_sample=per_sample,
        device=images.device,
    )
    own_label = torch.tensor([1.0, 0.0], device="cpu").expand(len(images), 2)
    return mix(images, labels, plan, own_label if reformulate else None)


def plan_fmix(
    batch_size: int,
    size: tuple[int, int],
    *,
    generator: torch.Generator | None,
    alpha: float,
    decay_power: float = 3.0,
    max_soft: float = 0.0,
    reformulate: bool = False,
    per_sample: bool = False,
    tries: int = 1,
    device: torch.device | str = "cpu",
) -> MaskPlan | BlendPlan:
    """Draw masks and partners for images of ``size`` (H, W) on ``device``; for the rest see :func:`fmix`."""
    check_positive("alpha", alpha)
    check_positive("decay_power", decay_power)
    check_integer("tries", tries, 1)
    check_number("max_soft", max_soft)
    if not 0 <= max_soft <= 0.5:
        raise ValueError(f"max_soft must be in [0, 0.5], got {max_soft!r}")
    check_flag("reformulate", reformulate)
    n, pixels = batch_size if per_sample else 1, size[0] * size[1]
    lam = sample_beta(alpha + reformulate, (n, 1), generator, beta=alpha).double()
    # lam * pixels is rounded up or down by the toss of a coin
    count = (lam * pixels).floor() + sample_integers(2, (n, 1), generator) * ((lam * pixels) % 1 > 0)
    soft = (torch.minimum(lam, 1 - lam).clamp(max=max_soft) * pixels).floor()
    partner = sample_partner(batch_size, generator, tries)
    field = _smooth_field(n, size, decay_power, generator, torch.device(device) if per_sample else torch.device("cpu"))
    if not per_sample and not max_soft:  # no need to sort for one sharp mask
        highest = field.flatten(1).topk(int(count), dim=1, sorted=False).indices
        own = torch.zeros(1, pixels, dtype=torch.bool, device="cpu").scatter_(1, highest, True)
        return MaskPlan(partner, own.view(1, 1, *size))
    order = field.flatten(1).argsort(dim=1, descending=True)
    by_rank = _mask_by_rank(pixels, *(t.to(order.device, non_blocking=True) for t in (count, soft)))
    own = torch.zeros_like(by_rank).scatter_(1, order, by_rank).view(n, 1, *size)
    return BlendPlan(partner, own.float()) if max_soft else MaskPlan(partner, own.bool())


def _mask_by_rank(pixels: int, count: Tensor, soft: Tensor) -> Tensor:
    """Return the mask's value at the highest, second highest, ... pixel of the field: float64 (n, pixels).

    It is 1 for the first ``count - soft`` pixels, 0 after the first ``count + soft``, and falls evenly between.
    """
    rank = torch.arange(pixels, device=count.device, dtype=torch.float64)
    ramp = 1 - (rank - (count - soft)) / (2 * soft - 1).clamp(min=1)
    return torch.where(rank < count - soft, 1.0, torch.where(rank < count + soft, ramp, 0.0))


def _smooth_field(
    n: int, size: tuple[int, int], decay_power: float, generator: torch.Generator | None, device: torch.device
) -> Tensor:
    """Return n fields of noise with falling spectrum, drawn on ``device``: float32 (n, H, W)."""
    height, width = size
    y = torch.fft.fftfreq(height, device=device, dtype=torch.float32)[:, None]
    x = torch.fft.rfftfreq(width, device=device, dtype=torch.float32)[None, :]
    # in cycles an image, the lowest frequencies all being treated as one; ranks do not depend on the scale
    scale = ((x.square() + y.square()).sqrt() * max(size)).clamp(min=1) ** -decay_power
    if device.type == "cuda":
        generator = torch.Generator(device).manual_seed(int(sample_integers(2**62, (), generator)))
    shape = n, height, width // 2 + 1, 2
    where = device if device.type == "cuda" else torch.device("cpu")
    noise = torch.randn(shape, generator=generator, device=where, dtype=torch.float32).to(device, non_blocking=True)
    return torch.fft.irfft2(torch.view_as_complex(noise) * scale, s=size)
