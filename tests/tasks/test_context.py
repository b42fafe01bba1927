"""Where a step stands in a run, and what methods may ask for."""

import dataclasses

import pytest
import torch
from torch import nn

from openmix.data.batch import Batch
from openmix.tasks import MixContext, StepContext

PLACE = StepContext(seed=3, epoch=1, step=7, shard=2, progress=0.5)


def draw(context: StepContext, stream: str = "mix") -> list[int]:
    return torch.randint(2**40, (4,), generator=context.generator(stream)).tolist()


def test_the_same_place_and_stream_draw_the_same():
    assert draw(PLACE) == draw(dataclasses.replace(PLACE))


@pytest.mark.parametrize("part", ["seed", "step", "shard"])
def test_every_part_of_the_key_matters(part):
    other = dataclasses.replace(PLACE, **{part: getattr(PLACE, part) + 1})
    assert draw(PLACE) != draw(other)
    assert PLACE.model_seed() != other.model_seed()


def test_step_and_shard_are_not_interchangeable():
    swapped = dataclasses.replace(PLACE, step=PLACE.shard, shard=PLACE.step)
    assert draw(PLACE) != draw(swapped)
    assert PLACE.model_seed() != swapped.model_seed()


def test_streams_differ():
    assert draw(PLACE, "mix") != draw(PLACE, "augment")
    assert PLACE.generator("model").initial_seed() == PLACE.model_seed()  # a stream like any other
    assert PLACE.generator("mix").initial_seed() != PLACE.model_seed()


def test_epoch_and_progress_do_not_matter():
    """The step determines the epoch, and a longer run changes the progress."""
    other = dataclasses.replace(PLACE, epoch=9, progress=0.1)
    assert draw(PLACE) == draw(other)
    assert PLACE.model_seed() == other.model_seed()


def test_the_seeds_are_pinned():
    """A change here changes every run; it must be meant."""
    assert PLACE.generator("mix").initial_seed() == 6310309515487225664
    assert PLACE.model_seed() == 1584134298414979314


def test_generators_are_on_the_cpu_and_leave_torchs_alone():
    before = torch.get_rng_state()
    draw(PLACE)
    PLACE.model_seed()
    assert PLACE.generator("mix").device.type == "cpu"
    assert torch.equal(before, torch.get_rng_state())


def test_a_place_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLACE.step = 8  # type: ignore[misc]


class Maps:
    """A network's stand-in that writes down what it is asked for."""

    def __init__(self) -> None:
        self.net = nn.BatchNorm2d(1)
        self.modules, self.log = [self.net], []

    def provide(self, need: str, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.log.append((need, "train" if self.net.training else "eval"))
        return torch.full((2,), len(self.log))


BATCH = Batch((torch.rand(2, 1, 4, 4),), torch.arange(2), torch.arange(2))


def test_needs_are_computed_when_asked_for_and_once():
    maps = Maps()
    context = MixContext(maps, None, BATCH, clean_weight=0)
    assert maps.log == []
    first = context.serve(["saliency"], "eval")
    assert maps.log == [("saliency", "eval")] and set(first) == {"saliency"}
    both = context.serve(("features", "saliency"), "eval")
    assert maps.log[1:] == [("features", "eval")] and list(both) == ["features", "saliency"]
    assert both["saliency"] is first["saliency"]


def test_a_need_in_the_other_mode_is_another():
    maps = Maps()
    context = MixContext(maps, None, BATCH, clean_weight=0)
    for guide_pass in ("eval", "train", "eval"):
        context.serve(["saliency"], guide_pass)
    assert maps.log == [("saliency", "eval"), ("saliency", "train")]
    assert maps.net.training, "the network's own mode is restored"


def test_nothing_asked_nothing_served():
    maps = Maps()
    assert MixContext(maps, None, BATCH, clean_weight=0).serve((), "eval") == {}
    assert maps.log == []


def test_each_context_computes_for_itself():
    maps = Maps()
    for _ in range(2):
        MixContext(maps, None, BATCH, clean_weight=0).serve(["features"], "eval")
    assert len(maps.log) == 2
