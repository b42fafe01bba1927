"""What a task is told about the step it computes, and what a method may ask of the network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openmix.ops.random import derive_seed, generator_for

__all__ = ["MixContext", "StepContext"]


@dataclass(frozen=True)
class StepContext:
    """The place of one micro-batch in a run; every draw is a function of it.

    Attributes:
        seed: the run's seed.
        epoch: counts from 0.
        step: optimizer steps done before this one, over the whole run.
        shard: which of the step's micro-batches this is, over ranks and accumulation.
        progress: the share of the run that is done, in [0, 1).
    """

    seed: int
    epoch: int
    step: int
    shard: int
    progress: float

    def generator(self, stream: str) -> torch.Generator:
        """Return the CPU generator of a named stream of draws for this micro-batch."""
        return generator_for(self.seed, stream, self.step, self.shard)

    def model_seed(self) -> int:
        """Return the seed for what a network draws from torch's global generators, such as dropout."""
        return derive_seed(self.seed, "model", self.step, self.shard)


class MixContext:
    """Serves what methods need from the network: each need is computed when first asked for, once a batch.

    Args:
        providers: a function for each need that can be served.
    """

    def __init__(self, providers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._providers = providers
        self._served: dict[str, Tensor] = {}

    def serve(self, needs: Sequence[str]) -> dict[str, Tensor]:
        """Return the named tensors, ready to be passed on by keyword."""
        for need in needs:
            if need not in self._served:
                self._served[need] = self._providers[need]()
        return {need: self._served[need] for need in needs}
