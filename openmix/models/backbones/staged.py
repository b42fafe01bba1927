"""The way through every backbone that is written here: stem, stages one after the other, what follows the last."""

from torch import Tensor, nn

from openmix.models.backbones.checks import check_one_of

__all__ = ["StagedNetwork"]


class StagedNetwork(nn.Module):
    """A network of a stem and stages ``layer1``, ``layer2``, ...; subclasses make the modules.

    Attributes:
        stage_names: the names of the stages' modules, first to last. Mixing inside a network hooks on to them, so each
            stage is called as a module, in this order, and its output goes to the next.
        out_channels: the channels of each stage's map.
    """

    stage_names: tuple[str, ...]
    out_channels: tuple[int, ...]

    def stem(self, images: Tensor) -> Tensor:
        """Return what the first stage takes for images (B, C, H, W)."""
        return images

    def finish(self, x: Tensor) -> Tensor:
        """Return what is pooled for the last stage's output: a pre-activation network's last norm belongs here."""
        return x

    def forward(self, images: Tensor, upto: int | None = None) -> tuple[Tensor, ...]:
        """Return the feature maps of all stages for images (B, C, H, W); the last one is what a classifier pools.

        Args:
            images: (B, C, H, W).
            upto: return the maps of the first ``upto`` stages alone, and run nothing behind them; default all.

        Raises:
            ValueError: ``upto`` is not between 1 and the number of stages.
        """
        if upto is not None:
            check_one_of("upto", upto, range(1, len(self.stage_names) + 1))
        x = self.stem(images)
        features = []
        for name in self.stage_names[:upto]:
            x = self.get_submodule(name)(x)
            features.append(x)
        if len(features) == len(self.stage_names):
            features[-1] = self.finish(x)
        return tuple(features)
