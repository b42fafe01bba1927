"""Where a step stands in a run, and what methods may ask for."""

import dataclasses

import pytest
import torch

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


def counting(log: list[str], name: str):
    def provide() -> torch.Tensor:
        log.append(name)
        return torch.full((2,), len(log))

    return provide


def test_needs_are_computed_when_asked_for_and_once():
    log: list[str] = []
    context = MixContext({name: counting(log, name) for name in ("features", "saliency", "attention")})
    assert log == []
    first = context.serve(["saliency"])
    assert log == ["saliency"] and set(first) == {"saliency"}
    both = context.serve(("features", "saliency"))
    assert log == ["saliency", "features"] and list(both) == ["features", "saliency"]
    assert both["saliency"] is first["saliency"]


def test_nothing_asked_nothing_served():
    log: list[str] = []
    assert MixContext({"features": counting(log, "features")}).serve(()) == {}
    assert log == []


def test_each_context_computes_for_itself():
    log: list[str] = []
    providers = {"features": counting(log, "features")}
    for _ in range(2):
        MixContext(providers).serve(["features"])
    assert log == ["features", "features"]
