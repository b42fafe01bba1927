"""Mixers made of mixers, held against the mixers themselves and against loops."""

import copy
import pickle

import pytest
import torch

import openmix
from openmix import Choice, CutMix, MixUp, PerSample, Repeat, StarMix, Vanilla, Window


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def is_blend(mixed) -> bool:
    return mixed.masks.shape[2:] == (1, 1)


# Choice


def test_choice_is_one_of_its_mixers(make_batch):
    images, labels = make_batch()
    choice = Choice([MixUp(), CutMix()])
    for seed in range(20):
        generator = seeded(seed)
        mixed = choice(images, labels, generator=generator)
        again = seeded(seed)
        chosen = [MixUp(), CutMix()][int(torch.multinomial(torch.tensor([0.5, 0.5]).double(), 1, generator=again))]
        wanted = chosen(images, labels, generator=again)
        assert torch.equal(mixed.images, wanted.images)
        assert torch.equal(mixed.target.weights, wanted.target.weights)
        assert torch.equal(generator.get_state(), again.get_state())


def test_choice_draws_by_its_probabilities_and_the_rest_leaves_alone():
    images, labels = torch.rand(2, 1, 4, 4), torch.arange(2)
    choice = Choice([MixUp(), StarMix()], probs=[0.5, 0.2])
    generator, n = seeded(), 4000
    drawn = [choice.draw(generator).name for _ in range(n)]
    for name, p in {"mixup": 0.5, "starmix": 0.2, "vanilla": 0.3}.items():
        assert abs(drawn.count(name) - n * p) < 4.5 * (n * p * (1 - p)) ** 0.5
    seen = {choice(images, labels, generator=generator).sources.shape[1] for _ in range(50)}
    assert seen == {2, 3}


def test_choice_copies_its_lists():
    mixers, probs = [MixUp(), CutMix()], [1.0, 0.0]
    choice = Choice(mixers, probs)
    mixers.pop()
    probs[0] = 0.0
    assert {choice.draw(seeded(s)).name for s in range(20)} == {"mixup"}


@pytest.mark.parametrize(
    ("mixers", "probs", "named"),
    [
        ([], None, "mixers"),
        ([MixUp()], [0.5, 0.5], "probs"),
        ([MixUp(), CutMix()], [0.7, 0.7], "1.4"),
        ([MixUp(), CutMix()], [1.2, -0.2], "-0.2"),
        ([MixUp()], [float("nan")], "nan"),
        (["mixup"], None, "mixup"),
    ],
)
def test_choice_refuses(mixers, probs, named):
    with pytest.raises(ValueError, match=named):
        Choice(mixers, probs)


# Window


def test_window_acts_in_its_epochs_only(make_batch):
    images, labels = make_batch()
    window = Window(CutMix(), start=2, stop=4)
    for epoch in range(6):
        mixed = window(images, labels, generator=seeded(), epoch=epoch)
        wanted = (CutMix() if epoch in (2, 3) else Vanilla())(images, labels, generator=seeded())
        assert torch.equal(mixed.images, wanted.images)
        assert torch.equal(mixed.target.weights, wanted.target.weights)
    for_ever = Window(CutMix(), start=1)
    assert torch.equal(for_ever(images, labels, generator=seeded(), epoch=0).images, images)
    assert not torch.equal(for_ever(images, labels, generator=seeded(), epoch=10**6).images, images)


def test_window_within_a_choice_hears_the_epoch(make_batch):
    images, labels = make_batch()
    choice = Choice([Window(CutMix(), 0, 1)])
    assert not torch.equal(choice(images, labels, generator=seeded(), epoch=0).images, images)
    assert torch.equal(choice(images, labels, generator=seeded(), epoch=1).images, images)


def test_window_must_be_told_the_epoch(make_batch):
    with pytest.raises(TypeError, match="epoch"):
        Window(CutMix(), 0, 3)(*make_batch())


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 3), (3, 2), (0, 0), (0.5, 2), (0, 2.5), (True, 2)])
def test_window_refuses(start, stop):
    with pytest.raises(ValueError, match=r"start|stop"):
        Window(CutMix(), start, stop)


# PerSample


@pytest.mark.parametrize(
    "mixer", [MixUp(), CutMix(per_sample=True), StarMix(k=4), openmix.Mosaic()], ids=lambda m: m.name
)
def test_per_sample_mixes_some_and_leaves_the_others(make_batch, mixer):
    images, labels = make_batch(batch=9)
    some = 0
    for seed in range(6):
        mixed = PerSample(mixer, 0.5)(images, labels, generator=seeded(seed))
        generator = seeded(seed)
        whole = mixer(images, labels, generator=generator)
        chosen = torch.rand(9, dtype=torch.float64, generator=generator) < 0.5
        for b in range(9):
            if chosen[b]:
                assert torch.equal(mixed.images[b], whole.images[b])
                assert torch.equal(mixed.sources[b], whole.sources[b])
                assert torch.equal(mixed.target.weights[b], whole.target.weights[b])
            else:
                assert torch.equal(mixed.images[b], images[b])
                assert mixed.sources[b].tolist() == [b] * mixed.sources.shape[1]
                assert mixed.target.weights[b].tolist() == [1.0] + [0.0] * (mixed.sources.shape[1] - 1)
                assert bool((mixed.masks[b, 0] == 1).all()) and not mixed.masks[b, 1:].any()
        assert torch.equal(mixed.target.labels, labels[mixed.sources])
        torch.testing.assert_close(mixed.apply(images), mixed.images)
        some += int(chosen.sum())
    assert 0 < some < 54


def test_per_sample_takes_part_with_its_probability():
    n, p = 20000, 0.3
    mixed = PerSample(MixUp(), p)(torch.rand(n, 1, 1, 1), torch.arange(n), generator=seeded())
    took_part = int((mixed.target.weights[:, 0] < 1).sum())
    assert abs(took_part - n * p) < 4.5 * (n * p * (1 - p)) ** 0.5


def test_per_sample_at_the_ends(make_batch):
    images, labels = make_batch()
    assert torch.equal(PerSample(CutMix(), 0.0)(images, labels, generator=seeded()).images, images)
    whole = CutMix()(images, labels, generator=seeded())
    assert torch.equal(PerSample(CutMix(), 1.0)(images, labels, generator=seeded()).images, whole.images)


def test_per_sample_keeps_labels_that_are_weighed_otherwise(make_batch):
    images, labels = make_batch(batch=9)
    inverted = openmix.build_mixer("smoothmix", preset="openmixup")
    mixed = PerSample(inverted, 0.5)(images, labels, generator=seeded())
    share = mixed.masks.mean((2, 3))
    for b in range(9):
        alone = mixed.target.weights[b].tolist() == [1.0, 0.0]
        torch.testing.assert_close(mixed.target.weights[b], share[b] if alone else share[b].flip(0))


@pytest.mark.parametrize("prob", [-0.1, 1.1, float("nan"), "half", True])
def test_per_sample_refuses(prob):
    with pytest.raises(ValueError, match="prob"):
        PerSample(CutMix(), prob)


def test_per_sample_within_the_network():
    labels = torch.arange(8)
    mix = PerSample(openmix.ManifoldMix(layers=(1,)), 0.5).function(labels, generator=seeded(), stages=("one",))
    x = torch.rand(8, 2, 3, 3)
    mixed, weights = mix.plan.apply(x), mix.target.weights
    assert mix.stage == "one"
    alone = weights[:, 0] == 1
    assert 0 < int(alone.sum()) < 8
    for b in range(8):
        partner = mix.plan.sources[b, 1]
        wanted = weights[b, 0] * x[b] + weights[b, 1] * x[partner]
        torch.testing.assert_close(mixed[b], wanted)


# Repeat


def test_repeat_is_several_mixes_of_one_batch(make_batch):
    images, labels = make_batch()
    mixed = Repeat(CutMix(), 3)(images, labels, generator=seeded())
    generator = seeded()
    singles = [CutMix()(images, labels, generator=generator) for _ in range(3)]
    assert torch.equal(mixed.images, torch.cat([m.images for m in singles]))
    assert torch.equal(mixed.target.weights, torch.cat([m.target.weights for m in singles]))
    assert torch.equal(mixed.target.labels, torch.cat([m.target.labels for m in singles]))
    assert torch.equal(mixed.masks, torch.cat([m.masks for m in singles]))
    assert torch.equal(mixed.apply(images), mixed.images)


def test_repeat_of_a_choice_fills_up_sources_and_masks(make_batch):
    images, labels = make_batch()
    choice = Choice([MixUp(), CutMix(), StarMix(k=4)])
    shapes = set()
    for seed in range(12):
        mixed = Repeat(choice, 2)(images, labels, generator=seeded(seed))
        k = mixed.sources.shape[1]
        shapes.add((k, is_blend(mixed)))
        assert mixed.images.shape == (10, *images.shape[1:])
        assert mixed.target.weights.shape == mixed.sources.shape == (10, k) and mixed.masks.shape[:2] == (10, k)
        torch.testing.assert_close(mixed.target.weights.sum(1), torch.ones(10))
        wanted = torch.einsum("bkhw,bkchw->bchw", mixed.masks.expand(-1, -1, 24, 32), images[mixed.sources])
        torch.testing.assert_close(mixed.images, wanted)
        assert torch.equal(mixed.target.labels, labels[mixed.sources])
    assert len(shapes) >= 3


@pytest.mark.parametrize("n", [0, -1, 1.5, True])
def test_repeat_refuses(n):
    with pytest.raises(ValueError, match="n must"):
        Repeat(CutMix(), n)


# All


def test_they_nest_copy_and_pickle(make_batch):
    images, labels = make_batch()
    nested = Repeat(Window(Choice([PerSample(CutMix(), 0.5), MixUp(alpha=0.2)], [0.5, 0.3]), 0, 5), 2)
    wanted = nested(images, labels, generator=seeded(3), epoch=1)
    for twin in (copy.deepcopy(nested), pickle.loads(pickle.dumps(nested))):
        assert repr(twin) == repr(nested)
        assert torch.equal(twin(images, labels, generator=seeded(3), epoch=1).images, wanted.images)
    assert "CutMix" in repr(nested) and nested.kind == "input" and nested.needs == ()


def test_a_misspelt_need_is_not_swallowed(make_batch):
    with pytest.raises(TypeError, match="salency"):
        Choice([CutMix()])(*make_batch(), salency=torch.rand(5, 24, 32))


def test_repeat_and_per_sample_in_the_right_order(make_batch):
    with pytest.raises(ValueError, match="more images"):
        PerSample(Repeat(CutMix(), 2), 0.5)(*make_batch())
