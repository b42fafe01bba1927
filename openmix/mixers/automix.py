"""AutoMix (Liu et al., ECCV 2022), arXiv:2103.13027, by a mix block that has been trained."""

from collections.abc import Callable

from openmix.mixers.catalog import mixer
from openmix.mixers.frozen import from_checkpoint
from openmix.ops.target import Mixed

__all__ = ["automix"]


@mixer(
    "AutoMix",
    kind="learned",
    paper="Liu et al., ECCV 2022",
    link="https://arxiv.org/abs/2103.13027",
    lam="the draw: labels weigh lambda, not what is visible",
)
def automix(
    *, checkpoint: str | None = None, alpha: float | None = None, lam_margin: float | None = None
) -> Callable[..., Mixed]:
    """Blend two images by a mask that a network makes of what another one sees in both.

    :class:`~openmix.tasks.AutoMixClassification` trains these two beside the network that learns from the mixes. Here
    they come from such a run's checkpoint, do not change, and mix for whomever: the momentum encoder, as far as the mix
    block looks, and the mix block, both in mode 'eval'. The authors publish no such use of it.

    Nothing in the file is executed: its config is read as data, and names parts that are registered. If some of them
    are your own, import their module before. Copies of the mixer, pickled ones too, do without the file.

    Args:
        checkpoint: what the run wrote, such as ``work_dirs/RUN/checkpoints/last.pth``.
        alpha: lam ~ Beta(alpha, alpha), > 0, one draw a batch. Default None, the run's; the authors' is 2.0.
        lam_margin: where lam or 1 - lam is at most this, images are blended by lam itself. Default None, the run's;
            the authors' is 0.08.

    Returns:
        What is called as ``(images, labels, *, generator=None, pixel_range=None)``. Images are in [0, 1], or
        ``pixel_range`` says where black and white are in them; for the momentum encoder they are normalised as in its
        run. Networks move to the images' device once for each device.

    Raises:
        TypeError: no checkpoint.
        ValueError: the file is missing or damaged, or another task's; or a value is out of range.
    """
    return from_checkpoint("AutoMix", checkpoint, alpha=alpha, lam_margin=lam_margin)
