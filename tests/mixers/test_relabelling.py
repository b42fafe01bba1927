"""What holds for all methods that weigh labels anew by what a network says of the mixed images."""

import pytest
import torch
from torch import Tensor

import openmix
from openmix import Mixed
from openmix.mixers.catalog import get_method

METHODS = ("transmix", "tla", "mixpro", "sumix")
every_method = pytest.mark.parametrize("name", METHODS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def needs_of(name: str, batch: int, value: float | None = None) -> dict[str, Tensor]:
    """Random tensors, or ones that are ``value`` everywhere."""
    needs = {}
    for need in get_method(name).needs:
        shape = (batch, 10) if need.endswith("logits") else (batch, 4, 6)
        generator = seeded(len(need))
        needs[need] = torch.rand(shape, generator=generator) if value is None else torch.full(shape, value)
    return needs


def mix(name: str, batch: tuple[Tensor, Tensor], seed: int = 0) -> tuple[Mixed, "object"]:
    mixer = openmix.build_mixer(name, per_sample=True)
    assert mixer.base is not None
    return mixer.base(*batch, generator=seeded(seed)), mixer.function


@every_method
def test_weights_sum_to_1_and_labels_stay(make_batch, name):
    for seed in range(10):
        mixed, relabel = mix(name, make_batch(), seed)
        target = relabel(mixed, **needs_of(name, 5))
        assert torch.equal(target.labels, mixed.target.labels)
        assert target.weights.dtype == torch.float32 and target.weights.shape == (5, 2)
        assert bool((target.weights >= 0).all())
        torch.testing.assert_close(target.weights.sum(1), torch.ones(5))
    assert not torch.allclose(target.weights, mixed.target.weights), "it has weighed anew"


@every_method
@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-30, 1e30])
def test_what_says_nothing_leaves_the_areas(make_batch, name, value):
    """Maps that are the same everywhere, zero included, and logits that prefer no class."""
    if name == "tla" and value > 1:
        value = 1e3  # shares
    mixed, relabel = mix(name, make_batch(5, 3, 32, 48))
    target = relabel(mixed, **needs_of(name, 5, value))
    tolerance = 0.2 if name == "transmix" else 1e-5  # the first pixel stands for its patch there
    torch.testing.assert_close(target.weights, mixed.target.weights, rtol=0, atol=tolerance)


@every_method
def test_a_batch_of_one_keeps_its_label(make_batch, name):
    mixed, relabel = mix(name, make_batch(1))
    target = relabel(mixed, **needs_of(name, 1))
    torch.testing.assert_close(target.soft(10), mixed.target.soft(10))


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_needs_of_any_precision_are_weighed_in_float32(make_batch, name, dtype):
    mixed, relabel = mix(name, make_batch())
    needs = needs_of(name, 5)
    target = relabel(mixed, **{k: v.to(dtype) for k, v in needs.items()})
    wanted = relabel(mixed, **{k: v.to(dtype).float() for k, v in needs.items()})
    assert target.weights.dtype == torch.float32
    assert torch.equal(target.weights, wanted.weights)


@every_method
def test_nothing_is_read_from_the_device(make_batch, name):
    """On the meta device nothing can be."""
    images, labels = make_batch()
    mixed, relabel = mix(name, (images.to("meta"), labels.to("meta")))
    target = relabel(mixed, **{k: v.to("meta") for k, v in needs_of(name, 5).items()})
    assert target.weights.device.type == "meta" and target.weights.shape == (5, 2)


@every_method
def test_no_gradient_flows_through_the_weights(make_batch, name):
    mixed, relabel = mix(name, make_batch())
    target = relabel(mixed, **{k: v.requires_grad_() for k, v in needs_of(name, 5).items()})
    assert not target.weights.requires_grad


@every_method
def test_nothing_is_written_to(make_batch, name):
    mixed, relabel = mix(name, make_batch())
    needs = needs_of(name, 5)
    kept = {k: v.clone() for k, v in needs.items()}
    before = mixed.target.weights.clone()
    relabel(mixed, **needs)
    assert all(torch.equal(kept[k], needs[k]) for k in needs) and torch.equal(before, mixed.target.weights)


@every_method
def test_it_compiles_whole(make_batch, name):
    torch._dynamo.reset()
    mixed, relabel = mix(name, make_batch())
    needs = needs_of(name, 5)
    compiled = torch.compile(relabel, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(mixed, **needs).weights, relabel(mixed, **needs).weights)
    torch._dynamo.reset()


@every_method
def test_it_is_no_mixer_of_images(make_batch, name):
    with pytest.raises(TypeError, match="relabels after the forward pass"):
        openmix.build_mixer(name)(*make_batch())


@pytest.mark.parametrize("name", ["transmix", "tla", "mixpro"])
def test_a_map_that_does_not_fit_is_named(make_batch, name):
    mixed, relabel = mix(name, make_batch())
    need = get_method(name).needs[0]
    wrong = [torch.rand(4, 4, 4), torch.rand(5, 4), torch.ones(5, 4, 4).long(), torch.rand(5, 4, 0)]
    for map_ in wrong:
        with pytest.raises(ValueError, match=f"{need} must"):
            relabel(mixed, **needs_of(name, 5) | {need: map_})
