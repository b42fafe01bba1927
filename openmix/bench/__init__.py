"""``openmix bench``: how fast openmix is, beside what one would write without it, on this machine.

A part is a module of this package with ``run(options: Options) -> Section`` (:mod:`openmix.bench.report`). It is
imported when it is run, and not before: this list is for ``openmix bench --help``, which imports no torch.
"""

from typing import NamedTuple

__all__ = ["GPU", "PARTS", "Part"]


class Part(NamedTuple):
    """What the command line says of a part.

    Attributes:
        about: what it measures.
        minutes: what it takes on two cores, for the time that is left.
    """

    about: str
    minutes: float


PARTS = {
    "step": Part("what a training step costs beyond a bare loop's, on a toy network", 1),
    "training": Part("ResNet-18 on CIFAR-10 and ResNet-50 at 224 pixels beside a bare loop and timm's", 3),
    "loaders": Part("images/s of the loaders beside torchvision's data set and torch's DataLoader", 3),
    "mixers": Part("each mixing method beside torch.lerp, timm and torchvision", 2),
    "hooks": Part("what averaging weights, logging, previews and checkpoints cost", 2),
    "growth": Part("cost against batch size, processes and data set size; memory", 4),
    "startup": Part("from the command to its help and to the first step", 2),
}
GPU = {"gpu": Part("what a CUDA device is wanted for: its tests, ResNet-18, every mixer's share, host syncs", 12)}
