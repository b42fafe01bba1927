"""SAMix (Li et al., arXiv:2111.15454), by a mix block that has been trained."""

from collections.abc import Callable

from openmix.mixers.catalog import mixer
from openmix.mixers.frozen import from_checkpoint
from openmix.ops.target import Mixed

__all__ = ["samix"]


@mixer(
    "SAMix",
    kind="learned",
    paper="Li et al., 2021",
    link="https://arxiv.org/abs/2111.15454",
    lam="the draw: labels weigh lambda, not what is visible",
)
def samix(
    *, checkpoint: str | None = None, alpha: float | None = None, lam_margin: float | None = None
) -> Callable[..., Mixed]:
    """Blend two images by a mask that a network, which sees lambda and both, makes of what another one sees in them.

    As :func:`openmix.mixers.automix`, of a run of :class:`~openmix.tasks.SAMixClassification`.

    Args:
        checkpoint: what the run wrote, such as ``work_dirs/RUN/checkpoints/last.pth``.
        alpha: lam ~ Beta(alpha, alpha), > 0, one draw a batch. Default None, the run's; the authors' is 2.0.
        lam_margin: where lam or 1 - lam is at most this, images are blended by lam itself. Default None, the run's;
            the authors' is 0.08.

    Returns:
        As :func:`openmix.mixers.automix` does.

    Raises:
        TypeError: no checkpoint.
        ValueError: the file is missing or damaged, or another task's; or a value is out of range.
    """
    return from_checkpoint("SAMix", checkpoint, alpha=alpha, lam_margin=lam_margin)
