"""What a task of learned mixing has learned, as a mixer: masks of what a momentum encoder sees.

A task has one of its own networks, for previews; :mod:`openmix.engine.frozen` makes one of a finished run's.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from openmix.mixers.catalog import GuidePass, Kind
from openmix.ops.guidance import run_in
from openmix.ops.plans import check_batch
from openmix.ops.target import Mixed

if TYPE_CHECKING:
    from openmix.tasks.learned import Draw

__all__ = ["LearnedMixer", "as_normalised", "map_of_stage"]


@dataclass(frozen=True, eq=False)
class LearnedMixer:
    """Mixes as a task of learned mixing does for its student, and leaves both networks as they are.

    It stands where a :class:`~openmix.mixers.mixer.Mixer` of kind 'input' does. The networks run in mode 'eval': what
    an image shows does not depend on the others of its batch, but for its partners. In training they run on the
    statistics of the batch, so its masks are not quite these. Masks are not scaled to lambda (``mask_adjust``).

    Attributes:
        name: of the method.
        trunk: the momentum encoder's backbone, of which the first ``stages`` run.
        stages: as many of the trunk's maps there are up to that which the mix block sees.
        mix_block: features, sources, lambda, size -> shares, see :class:`~openmix.models.mix_block.PixelMixBlock`.
        draws: how partners and lambda are drawn, ``draws(batch_size, generator=...)``.
        lam_margin: where lambda or 1 - lambda is at most this, images are blended by lambda itself.
        normal: float32 (2, C), shift and scale that normalise images in [0, 1] as the trunk knows them; None if it is
            handed such images in any case, as a task is.
    """

    kind: ClassVar[Kind] = "input"
    needs: ClassVar[tuple[str, ...]] = ()
    base: ClassVar[None] = None
    guide_pass: ClassVar[GuidePass] = "eval"

    name: str
    trunk: nn.Module
    stages: int
    mix_block: nn.Module
    draws: Callable[..., Draw]
    lam_margin: float
    normal: Tensor | None = None

    def draw(self, generator: torch.Generator | None = None, epoch: int | None = None) -> LearnedMixer:
        """Return the mixer itself."""
        return self

    def __call__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        generator: torch.Generator | None = None,
        pixel_range: Tensor | None = None,
        epoch: int | None = None,
        model: nn.Module | None = None,
        guide_pass: GuidePass | None = None,
    ) -> Mixed:
        """Mix a batch.

        Args:
            images: floating (B, C, H, W), on the networks' device; not modified.
            labels: int64 (B,).
            generator: a CPU generator; None takes torch's default one.
            pixel_range: float (2, C), the values of black and of white in the images; None for images in [0, 1].
                Without :attr:`normal` it is not looked at.
            epoch: as this and the next two are of a ``Mixer``: not used.
            model: not used.
            guide_pass: not used.

        Returns:
            Labels weigh lambda. ``masks`` is (B, K, H, W), or (B, K, 1, 1) where lambda is near 0 or 1.

        Raises:
            ValueError: tensors of another type or shape.
        """
        check_batch(images, labels)
        draw = self.draws(len(images), generator=generator)
        if draw.within(self.lam_margin):
            return draw.to(images.device).mixed(images, labels)
        seen, draw = self._as_known(images, pixel_range), draw.to(images.device)
        return draw.mixed(images, labels, self.shares(seen, draw))

    def _as_known(self, images: Tensor, pixel_range: Tensor | None) -> Tensor:
        return images if self.normal is None else as_normalised(images, pixel_range, self.normal)

    @torch.no_grad()
    def shares(self, images: Tensor, draw: Draw) -> Tensor:
        """Return the masks for images as the trunk knows them, and a draw on their device: float32 (B, K, H, W)."""
        with run_in("eval", self.trunk, self.mix_block):
            features = map_of_stage(self.trunk, images, self.stages)
            shares = self.mix_block(features, draw.sources, draw.lam, (images.shape[2], images.shape[3]))
        torch.clear_autocast_cache()  # torch before 2.10 keeps the weights that autocast cast here, and trains none
        return shares

    def to(self, device: torch.device) -> LearnedMixer:
        """Return the same on another device: of copies of its networks."""
        trunk, mix_block = (copy.deepcopy(network).to(device) for network in (self.trunk, self.mix_block))
        return replace(
            self, trunk=trunk, mix_block=mix_block, normal=None if self.normal is None else self.normal.to(device)
        )


def map_of_stage(backbone: nn.Module, images: Tensor, stages: int) -> Tensor:
    """Return the last of a backbone's first ``stages`` maps, (B, C, h, w); what lies behind it is not computed."""
    options = {"upto": stages} if _ends_early(type(backbone)) else {}
    return backbone(images, **options)[stages - 1]


@functools.cache
def _ends_early(kind: type[nn.Module]) -> bool:
    """Tell whether a backbone can: one of a user's own may know of no such argument, and then runs to its end."""
    return "upto" in inspect.signature(kind.forward).parameters


def as_normalised(images: Tensor, pixel_range: Tensor | None, normal: Tensor) -> Tensor:
    """Return images as another run normalised them, in float32; as they are, bit by bit, where that is the same.

    Args:
        images: floating (B, C, H, W).
        pixel_range: float (2, C) or (2, 1), the values of black and of white in them; None for 0 and 1.
        normal: float32 (2, C) or (2, 1), shift and scale of the run: ``shift + scale * image`` of an image in [0, 1].

    Raises:
        ValueError: the run knew images of other channels.

    >>> images, normal = torch.full((1, 1, 1, 1), 0.5), torch.tensor([[-2.0], [4.0]])
    >>> as_normalised(images, None, normal), as_normalised(images, torch.tensor([[0.0], [0.5]]), normal)
    (tensor([[[[0.]]]]), tensor([[[[2.]]]]))
    """
    if normal.shape[1] not in (1, images.shape[1]):
        raise ValueError(f"images must have the {normal.shape[1]} channels of those learned on, got {images.shape[1]}")
    shift, scale = normal.to(images.device, non_blocking=True)
    if pixel_range is not None:
        black, white = pixel_range.to(images.device, non_blocking=True)
        same = (black == shift) & (white == shift + scale)
        scale = torch.where(same, 1.0, scale / (white - black))
        shift = torch.where(same, 0.0, shift - black * scale)
    return torch.addcmul(shift[:, None, None], images.float(), scale[:, None, None])
