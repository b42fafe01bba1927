"""Small tasks, batches and places in a run; a way to see what a task draws; methods that only a test knows."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from openmix.data.batch import Batch
from openmix.mixers import catalog
from openmix.models import ClsMixupHead, ConvNet
from openmix.tasks import MixUpClassification, StepContext


class Raw(nn.Module):
    """A backbone that passes the images through as its only stage, so that a test sees what the network is given."""

    out_channels = (3,)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.seen.append(images)
        return (images,)


class Call(NamedTuple):
    """One call of a method by a task: its name and the generator as it stood before."""

    name: str
    state: torch.Tensor

    def generator(self) -> torch.Generator:
        return torch.Generator().set_state(self.state)


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    def make(size: int = 6, side: int = 8, channels: int = 3, classes: int = 5, seed: int = 1) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        images = torch.rand(size, channels, side, side + 2, generator=generator)
        return Batch((images,), torch.arange(size) * 3 % classes, torch.arange(size))

    return make


@pytest.fixture
def at() -> Callable[..., StepContext]:
    def make(step: int = 0, shard: int = 0, seed: int = 0, epoch: int = 0) -> StepContext:
        return StepContext(seed=seed, epoch=epoch, step=step, shard=shard, progress=0.0)

    return make


@pytest.fixture
def received() -> list[Any]:
    """What a test's own methods were handed, call by call."""
    return []


@pytest.fixture
def make_task(received) -> Callable[..., MixUpClassification]:
    """A mixing task of five classes, on a ConvNet of two stages or on ``backbone``.

    A method is tried out when it is built; what it was handed then does not count.
    """

    def make(backbone: nn.Module | None = None, seed: int = 0, **arguments: Any) -> MixUpClassification:
        torch.manual_seed(seed)
        backbone = ConvNet((4, 8)) if backbone is None else backbone
        head = ClsMixupHead(num_classes=5, in_channels=backbone.out_channels[-1])  # type: ignore[index, arg-type]
        nn.init.normal_(head.fc.weight)  # larger than its own, so that losses tell mixes apart
        task = MixUpClassification(backbone, head, **arguments)
        received.clear()
        return task

    return make


@pytest.fixture
def raw() -> Raw:
    """See :class:`Raw`."""
    return Raw()


@pytest.fixture
def spy() -> Callable[[MixUpClassification], list[Call]]:
    """Record every call of a task's methods from now on."""

    def watch(task: MixUpClassification) -> list[Call]:
        calls: list[Call] = []
        for mixer in task.mixers:
            target = mixer.base or mixer

            def function(*args: Any, _name: str = mixer.name, _inner: Any = target.function, **kwargs: Any) -> Any:
                calls.append(Call(_name, kwargs["generator"].get_state()))
                return _inner(*args, **kwargs)

            target.function = function
        return calls

    return watch


@pytest.fixture
def own_methods(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the test enters in the catalogue is gone after it."""
    before = catalog.list_mixers()
    with monkeypatch.context() as patch:
        patch.setattr(catalog, "_METHODS", dict(catalog._METHODS))
        yield
    assert catalog.list_mixers() == before
