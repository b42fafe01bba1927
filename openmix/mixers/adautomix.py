"""AdAutoMix (Qin et al., ICLR 2024), arXiv:2312.11954, by a mask network that has been trained."""

from collections.abc import Callable

from openmix.mixers.catalog import mixer
from openmix.mixers.frozen import from_checkpoint
from openmix.ops.target import Mixed

__all__ = ["adautomix"]


@mixer(
    "AdAutoMix",
    kind="learned",
    paper="Qin et al., ICLR 2024",
    link="https://arxiv.org/abs/2312.11954",
    lam="the draw: labels weigh lambda, not what is visible",
)
def adautomix(
    *, checkpoint: str | None = None, alpha: float | None = None, lam_margin: float | None = None
) -> Callable[..., Mixed]:
    """Blend three images by masks that a network makes of what another one sees in each.

    As :func:`openmix.mixers.automix`, of a run of :class:`~openmix.tasks.AdAutoMixClassification`, whose
    ``mix_samples`` says how many images are mixed.

    Args:
        checkpoint: what the run wrote, such as ``work_dirs/RUN/checkpoints/last.pth``.
        alpha: lam is as many draws of Beta(alpha, alpha), divided by their sum; > 0, one draw a batch. Default None,
            the run's; the authors' is 1.0.
        lam_margin: where the own lam or 1 - lam is at most this, images are blended by lam itself. Default None, the
            run's; the authors' is 0.03.

    Returns:
        As :func:`openmix.mixers.automix` does.

    Raises:
        TypeError: no checkpoint.
        ValueError: the file is missing or damaged, or another task's; or a value is out of range.
    """
    return from_checkpoint("AdAutoMix", checkpoint, alpha=alpha, lam_margin=lam_margin)
