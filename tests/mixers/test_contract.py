"""What holds for every input-level mixer, each preset and granularity of it; what one needs of a network is made up.

A new method is covered by being in the catalogue. The sets below name the cases that a promise cannot bind, each with
its reason. An entry is the beginning of a case's name, up to a dash: "resizemix" means all its presets and
"resizemix-mmpretrain" that one alone. An entry that no case begins with fails a test.
"""

import copy
import inspect
import pickle
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch._dynamo.testing
from torch import Tensor

import openmix
import openmix.mixers
from openmix import Mixed

# Content is moved or resized before it is pasted, so own and partner pixels under the mask do not rebuild the image.
MOVES_CONTENT = frozenset({"resizemix", "mosaic", "ricap", "smmix", "snapmix"})
# The own content is moved as well: not even the pixels that the own mask keeps stay in their place.
MOVES_OWN = frozenset({"mosaic", "ricap"})
# Content is resized, so the interpolation that `apply` is asked for matters.
RESIZES = frozenset({"resizemix", "augmix", "resizemixplus", "snapmix"})
# The method's own interpolation is not nearest, so `apply`'s default differs from it.
SMOOTH = frozenset({"resizemix-mmpretrain", "resizemix-interpolation=bilinear", "snapmix"})
# Some pixels show a fill value and no source, so masks do not sum up to 1 there.
ERASES = frozenset({"cutout", "randomerasing"})
# The own label is whole, however much of the image is left: the docstring says so.
WHOLE_LABEL = frozenset({"vanilla", "augmix", "cutout", "randomerasing", "fmix-reformulate=True"})
# The weights of a pair are the wrong way round, as a port has them; the docstring says so.
SWAPPED_LABELS = frozenset({"smoothmix-openmixup"})
# Labels are weighed by what guides the method, not by what is visible; the docstring says so.
WEIGHED_BY_GUIDE = frozenset({"tokenmix", "snapmix"})
# ... and an image's weights need not sum to 1.
NO_SUM = frozenset({"tokenmix", "snapmix"})
# Images are blended by shares that may happen to be 0 and 1 alone: integers are refused all the same.
BLENDS = frozenset({"comixup"})
# There are few draws: how large a window is.
FEW_DRAWS = frozenset({"smmix"})
# Colours or places are altered beside the mixing: `apply` does to another tensor only what moves, and no mask tells.
ALTERS = frozenset({"augmix", "resizemixplus"})
# Pixels are copied and so integers are taken, though no mask tells.
COPIES_UNMASKED = frozenset({"resizemixplus"})
# So many images come out for each that goes in: row r is made of image r % B first.
COPIES = {"resizemixplus": 2}
# What is done depends on what the images show.
LOOKS_AT_IMAGES = frozenset({"kmixup", "saliencymix", "puzzlemix"})
# Nothing is drawn, unless a preset does.
DETERMINISTIC = frozenset({"vanilla", "guidedmix"})
# A draw may say that nothing is done.
MAY_DO_NOTHING = frozenset({"randomerasing"})

EXEMPTIONS = {
    "MOVES_CONTENT": MOVES_CONTENT,
    "MOVES_OWN": MOVES_OWN,
    "RESIZES": RESIZES,
    "SMOOTH": SMOOTH,
    "ERASES": ERASES,
    "WHOLE_LABEL": WHOLE_LABEL,
    "SWAPPED_LABELS": SWAPPED_LABELS,
    "WEIGHED_BY_GUIDE": WEIGHED_BY_GUIDE,
    "NO_SUM": NO_SUM,
    "BLENDS": BLENDS,
    "FEW_DRAWS": FEW_DRAWS,
    "ALTERS": ALTERS,
    "COPIES_UNMASKED": COPIES_UNMASKED,
    "COPIES": frozenset(COPIES),
    "LOOKS_AT_IMAGES": LOOKS_AT_IMAGES,
    "DETERMINISTIC": DETERMINISTIC,
    "MAY_DO_NOTHING": MAY_DO_NOTHING,
}

SHAPES = [(1, 3, 32, 32), (2, 3, 32, 32), (5, 3, 32, 48), (7, 1, 48, 32), (3, 4, 33, 47)]


@dataclass(frozen=True)
class Case:
    """One mixer as a user may build it."""

    name: str
    preset: str | None = None
    hyper: dict = field(default_factory=dict)

    def build_bare(self):
        return openmix.build_mixer(self.name, preset=self.preset, **self.hyper)

    def build(self):
        mixer = self.build_bare()
        return Guided(mixer) if mixer.needs else mixer

    def among(self, entries: frozenset[str]) -> bool:
        return any(str(self) == entry or str(self).startswith(f"{entry}-") for entry in entries)

    @property
    def copies(self) -> int:
        return next((n for entry, n in COPIES.items() if self.among(frozenset({entry}))), 1)

    def __str__(self) -> str:
        return "-".join([self.name, *filter(None, [self.preset]), *(f"{k}={v}" for k, v in self.hyper.items())])


@dataclass(frozen=True)
class Guided:
    """A mixer that is handed what it needs, the same whatever the images show."""

    mixer: openmix.mixers.mixer.Mixer

    def __call__(self, images: Tensor, labels: Tensor, **given) -> Mixed:
        return self.mixer(images, labels, **given, **make_needs(self.mixer.needs, images))


def make_needs(needs, images: Tensor) -> dict[str, Tensor]:
    batch, _, height, width = images.shape if images.ndim == 4 else (5, 3, 24, 32)
    shapes = {
        "saliency": (batch, height, width),
        "attention": (batch, 8, 8),
        "cam": (batch, 4, 4),
        "features": (batch, 6, 4, 4),
    }
    generator = torch.Generator().manual_seed(17)
    drawn = {need: torch.rand(shapes[need], generator=generator, dtype=torch.float32).pow(4) for need in needs}
    return {need: value.to(images.device, non_blocking=True) for need, value in drawn.items()}


# What neither a preset nor a granularity reaches.
BESIDES = [
    Case("fmix", hyper={"reformulate": True}),
    Case("fmix", hyper={"max_soft": 0.3}),
    Case("starmix", hyper={"k": 5}),
    Case("resizemix", hyper={"interpolation": "bilinear"}),
]


def function_of(name: str):
    return getattr(openmix.mixers, name)


def input_mixers() -> list[str]:
    return [name for name in openmix.list_mixers() if openmix.build_mixer(name).kind == "input"]


def cases() -> list[Case]:
    found = []
    for name in input_mixers():
        mixer = openmix.build_mixer(name)
        hyper, presets = type(mixer).method.hyper, type(mixer).method.presets
        for preset in [None, *presets]:
            found.append(Case(name, preset))
            if "per_sample" in hyper:
                usual = presets.get(preset, {}).get("per_sample", hyper["per_sample"].default)
                found.append(Case(name, preset, {"per_sample": not usual}))
    return found + BESIDES


def marked(case: Case):
    """Of the many variants of guided methods, the authors' own is for every day."""
    is_variant = bool(case.build_bare().needs) and bool(case.preset or case.hyper)
    return pytest.param(case, marks=pytest.mark.slow if is_variant else ())


every_case = pytest.mark.parametrize("case", [marked(case) for case in cases()], ids=str)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_same(a: Mixed, b: Mixed) -> None:
    assert torch.equal(a.images, b.images)
    assert_same_draws(a, b)


def assert_same_draws(a: Mixed, b: Mixed) -> None:
    assert torch.equal(a.target.labels, b.target.labels)
    assert torch.equal(a.target.weights, b.target.weights)
    assert torch.equal(a.sources, b.sources)
    assert (a.masks is None) == (b.masks is None)
    if a.masks is not None and b.masks is not None:
        assert torch.equal(a.masks, b.masks)


def is_binary(masks: Tensor | None) -> bool:
    return masks is not None and bool(((masks == 0) | (masks == 1)).all())


def test_the_catalogue_has_something_to_test():
    assert {"vanilla", "mixup", "cutmix", "resizemix"} <= {case.name for case in cases()}
    names = list(map(str, cases()))
    assert len(names) == len(set(names))
    assert {"resizemix-openmixup", "resizemix-per_sample=True", "mosaic-per_sample=False"} <= set(names)


@pytest.mark.parametrize(("reason", "entries"), EXEMPTIONS.items(), ids=list(EXEMPTIONS))
def test_every_exemption_is_of_a_case(reason, entries):
    unused = [entry for entry in entries if not any(case.among(frozenset({entry})) for case in cases())]
    assert unused == [], reason


# Shapes and meanings


@every_case
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_types_and_weights(make_batch, case, shape):
    batch, channels, height, width = shape
    images, labels = make_batch(batch, channels, height, width)
    for seed in range(4):
        mixed = case.build()(images, labels, generator=seeded(seed))
        assert isinstance(mixed, Mixed)
        rows = batch * case.copies
        assert mixed.images.shape == (rows, *shape[1:]) and mixed.images.dtype == images.dtype
        assert bool(mixed.images.isfinite().all())
        target, sources = mixed.target, mixed.sources
        k = sources.shape[1]
        assert target.labels.shape == target.weights.shape == sources.shape == (rows, k)
        assert target.labels.dtype == sources.dtype == torch.int64
        assert target.weights.dtype == torch.float32
        assert bool((target.weights >= 0).all())
        if not case.among(NO_SUM):
            torch.testing.assert_close(target.weights.sum(1), torch.ones(rows), rtol=0, atol=1e-6)
        assert torch.equal(target.labels, labels[sources])
        assert torch.equal(sources[:, 0], torch.arange(rows) % batch), "the first source is the image itself"
        if mixed.masks is not None:
            assert mixed.masks.shape[:2] == (rows, k)
            assert tuple(mixed.masks.shape[2:]) in {(1, 1), (height, width)}
            assert mixed.masks.is_floating_point()
            assert bool((mixed.masks >= 0).all())
            share = mixed.masks.sum(1)
            if case.among(ERASES):
                assert is_binary(share)
            else:
                torch.testing.assert_close(share, torch.ones_like(share), rtol=0, atol=1e-6)
        if k == 2:
            assert torch.equal(mixed.partner, sources[:, 1])
            if mixed.masks is None:
                assert mixed.mask is None
            else:
                assert torch.equal(mixed.mask, mixed.masks[:, :1])


@every_case
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_label_weights_are_the_visible_shares(make_batch, case, shape):
    images, labels = make_batch(*shape)
    for seed in range(6):
        mixed = case.build()(images, labels, generator=seeded(seed))
        weights = mixed.target.weights.double()
        if case.among(WHOLE_LABEL):
            assert weights.tolist() == [[1, 0]] * len(weights)
        elif mixed.masks is not None and not case.among(WEIGHED_BY_GUIDE):
            share = mixed.masks.double().mean((2, 3))
            wanted = share.flip(1) if case.among(SWAPPED_LABELS) else share
            torch.testing.assert_close(weights, wanted, rtol=0, atol=1e-6)


@every_case
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_are_the_masked_sum_of_their_sources(make_batch, case, shape):
    images, labels = make_batch(*shape)
    for seed in range(3):
        mixed = case.build()(images, labels, generator=seeded(seed))
        if case.among(MOVES_CONTENT) or mixed.masks is None:
            # Own pixels stay in place even there, but for some.
            if mixed.masks is not None and not case.among(MOVES_OWN):
                kept = (mixed.masks[:, :1] == 1).expand_as(images)
                assert torch.equal(mixed.images[kept], images[kept])
            continue
        for b in range(len(mixed.images)):
            wanted = sum(
                mask.double() * images[source].double()
                for mask, source in zip(mixed.masks[b], mixed.sources[b].tolist(), strict=True)
            )
            torch.testing.assert_close(mixed.images[b].double(), wanted, rtol=0, atol=3e-7)


@every_case
def test_target_soft_is_the_weighted_sum_of_one_hots(make_batch, case):
    images, labels = make_batch()
    mixed = case.build()(images, labels, generator=seeded())
    wanted = torch.zeros(5 * case.copies, 10)
    for b in range(len(wanted)):
        for label, weight in zip(mixed.target.labels[b].tolist(), mixed.target.weights[b].tolist(), strict=True):
            wanted[b, label] += weight
    torch.testing.assert_close(mixed.target.soft(10), wanted)


@every_case
def test_a_batch_of_one_mixes_with_itself(make_batch, case):
    images, labels = make_batch(batch=1, height=32, width=32)
    for seed in range(5):
        mixed = case.build()(images, labels, generator=seeded(seed))
        assert not mixed.sources.any()
        whole = torch.nn.functional.one_hot(labels.repeat(case.copies), 10).float()
        if not case.among(NO_SUM):
            torch.testing.assert_close(mixed.target.soft(10), whole)
        if mixed.masks is not None and not case.among(MOVES_CONTENT):
            shown = mixed.masks.sum(1, keepdim=True) if case.among(ERASES) else 1
            torch.testing.assert_close(mixed.images, images * shown, rtol=0, atol=3e-7)


# Randomness


@every_case
def test_same_generator_same_result(make_batch, case):
    images, labels = make_batch()
    for seed in range(3):
        assert_same(
            case.build()(images, labels, generator=seeded(seed)), case.build()(images, labels, generator=seeded(seed))
        )


def assert_varied(case: Case, results: set[bytes]) -> None:
    """Six draws gave other results; where a draw may do nothing, several may be alike."""
    if case.among(DETERMINISTIC) and case.preset is None:
        assert len(results) == 1
    else:
        assert len(results) >= (2 if case.among(MAY_DO_NOTHING | FEW_DRAWS) else 5)


@every_case
def test_other_generator_other_result(make_batch, case):
    images, labels = make_batch()
    results = {case.build()(images, labels, generator=seeded(seed)).images.numpy().tobytes() for seed in range(6)}
    assert_varied(case, results)


@every_case
def test_one_generator_moves_on_between_calls(make_batch, case):
    images, labels = make_batch()
    generator, mixer = seeded(), case.build()
    results = {mixer(images, labels, generator=generator).images.numpy().tobytes() for _ in range(6)}
    assert_varied(case, results)


@every_case
def test_no_global_randomness_beside_a_generator(make_batch, case):
    images, labels = make_batch()
    before = torch.get_rng_state(), pickle.dumps(np.random.get_state()), random.getstate()
    mixed = case.build()(images, labels, generator=seeded())
    mixed.apply(images)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert pickle.dumps(np.random.get_state()) == before[1]
    assert random.getstate() == before[2]


@every_case
def test_without_a_generator_the_default_one_is_used(make_batch, case):
    images, labels = make_batch()
    others = pickle.dumps(np.random.get_state()), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        default = case.build()(images, labels)
    assert_same(default, case.build()(images, labels, generator=seeded(3)))
    assert (pickle.dumps(np.random.get_state()), random.getstate()) == others


@every_case
def test_draws_do_not_depend_on_the_images_or_labels(make_batch, case):
    images, labels = make_batch()
    first = case.build()(images, labels, generator=seeded())
    others = [torch.zeros_like(images), images * 100 - 3, images.flip(0)]
    for other in [images] if case.among(LOOKS_AT_IMAGES) else others:
        second = case.build()(other, labels.flip(0), generator=seeded())
        assert torch.equal(first.sources, second.sources)
        assert torch.equal(first.target.weights, second.target.weights)
        if first.masks is not None:
            assert torch.equal(first.masks, second.masks)


# Inputs and layouts


@every_case
def test_inputs_are_not_modified(make_batch, case):
    images, labels = make_batch()
    kept_images, kept_labels = images.clone(), labels.clone()
    for seed in range(3):
        mixed = case.build()(images, labels, generator=seeded(seed))
        mixed.apply(images)
        mixed.plan.apply(images)
        mixed.target.soft(10)
        assert torch.equal(images, kept_images) and torch.equal(labels, kept_labels)


@every_case
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_blended_in_float32_and_cast_back(make_batch, case, dtype):
    images, labels = make_batch(dtype=dtype)
    half = case.build()(images, labels, generator=seeded())
    full = case.build()(images.float(), labels, generator=seeded())
    assert half.images.dtype == dtype
    assert bool(half.images.isfinite().all())
    assert torch.equal(half.images, full.images.to(dtype))
    assert_same_draws(half, full)


@every_case
def test_double_equals_single_up_to_rounding(make_batch, case):
    images, labels = make_batch(dtype=torch.float64)
    double = case.build()(images, labels, generator=seeded())
    single = case.build()(images.float(), labels, generator=seeded())
    assert double.images.dtype == torch.float64
    torch.testing.assert_close(double.images.float(), single.images, rtol=0, atol=1e-6)
    assert_same_draws(double, single)


@every_case
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_memory_format_is_kept_and_changes_nothing(make_batch, case, layout):
    images, labels = make_batch()
    laid_out = case.build()(images.contiguous(memory_format=layout), labels, generator=seeded())
    assert laid_out.images.is_contiguous(memory_format=layout)
    assert_same(laid_out, case.build()(images, labels, generator=seeded()))


@every_case
def test_device_is_kept(make_batch, case):
    """On the meta device nothing can be read, so this also finds a value taken from the images."""
    images, labels = make_batch()
    mixed = case.build()(images.to("meta"), labels.to("meta"), generator=seeded())
    for tensor in (mixed.images, mixed.sources, *mixed.target, mixed.masks, mixed.apply(images.to("meta"))):
        assert tensor is None or tensor.device.type == "meta"
    assert mixed.images.shape == (len(images) * case.copies, *images.shape[1:])


# The plan, and the same mix on a second tensor


@every_case
def test_apply_reproduces_the_images(make_batch, case):
    images, labels = make_batch()
    for seed in range(4):
        mixed = case.build()(images, labels, generator=seeded(seed))
        assert torch.equal(mixed.plan.apply(images), mixed.images)
        assert torch.equal(mixed.apply(images), mixed.apply(images, interpolation="nearest"))
        if not case.among(ALTERS):
            own = "bilinear" if case.among(SMOOTH) else "nearest"
            assert torch.equal(mixed.apply(images, interpolation=own), mixed.images)


@every_case
@pytest.mark.parametrize("shape", [(5, 32, 48), (4, 33, 47)], ids=str)
def test_apply_moves_exactly_the_content_that_was_mixed(make_batch, make_coordinates, case, shape):
    """Pixels that carry their own address show, after `apply`, where every pixel of the mixed images came from."""
    batch, height, width = shape
    images, labels = make_batch(batch, 2, height, width)
    addresses = make_coordinates(batch, height, width)
    for seed in range(4):
        mixed = case.build()(images, labels, generator=seeded(seed))
        told = mixed.apply(addresses)
        if is_binary(mixed.masks):
            b, y, x = told.long().unbind(1)
            assert torch.equal(told, torch.stack([b, y, x], 1).float())
            # Where an image or an address is erased, it is 0.
            shown = mixed.masks.sum(1).bool().expand(batch, height, width)
            copied = images[b, :, y, x].permute(0, 3, 1, 2) * shown[:, None]
            assert torch.equal(copied, mixed.apply(images) if case.among(SMOOTH) else mixed.images)
            drawn_from = mixed.masks.argmax(1).expand(batch, height, width)
            assert torch.equal(b, mixed.sources.gather(1, drawn_from.flatten(1)).view_as(b) * shown)
        else:
            # A blend is linear, with the same coefficients for both tensors.
            torch.testing.assert_close(
                mixed.apply(addresses + 3 * addresses.flip(0)),
                told + 3 * mixed.apply(addresses.flip(0)),
                rtol=1e-5,
                atol=1e-4,
            )
            if mixed.masks is not None and not case.among(MOVES_CONTENT):
                wanted = torch.einsum(
                    "bkhw,bkchw->bchw",
                    mixed.masks.expand(-1, -1, height, width),
                    addresses[mixed.sources],
                )
                torch.testing.assert_close(told, wanted, rtol=1e-6, atol=1e-5)


@every_case
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_apply_on_a_segmentation_map(make_batch, make_coordinates, case, dtype):
    images, labels = make_batch(5, 3, 32, 48)
    classes = (make_coordinates(5, 32, 48).sum(1, keepdim=True) % 21).to(dtype)
    mixed = case.build()(images, labels, generator=seeded())
    if (is_binary(mixed.masks) and not case.among(BLENDS)) or case.among(COPIES_UNMASKED):
        mixed_classes = mixed.apply(classes)
        assert mixed_classes.dtype == dtype and mixed_classes.shape == (5 * case.copies, 1, 32, 48)
        assert torch.equal(mixed_classes, mixed.apply(classes.float()).to(dtype))
    else:
        with pytest.raises(TypeError, match=str(dtype).removeprefix("torch.")):
            mixed.apply(classes)


@every_case
def test_apply_takes_other_channels_types_and_layouts(make_batch, case):
    images, labels = make_batch()
    mixed = case.build()(images, labels, generator=seeded())
    wide = torch.cat([images, images[:, :1] * 2], 1)
    told = mixed.apply(wide)
    assert torch.equal(told[:, :3], mixed.apply(images))
    torch.testing.assert_close(told[:, 3], 2 * told[:, 0])
    assert mixed.apply(images.bfloat16()).dtype == torch.bfloat16
    assert mixed.apply(images.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)


@every_case
def test_interpolation_matters_only_where_content_is_resized(make_batch, case):
    images, labels = make_batch()
    mixed = case.build()(images, labels, generator=seeded())
    told = mixed.apply(images, interpolation="bilinear")
    assert told.shape == mixed.images.shape and bool(told.isfinite().all())
    if not case.among(RESIZES):
        assert torch.equal(told, mixed.apply(images, interpolation="nearest"))
    else:
        with pytest.raises(ValueError, match="bilinaer"):
            mixed.apply(images, interpolation="bilinaer")


@every_case
def test_apply_refuses_a_tensor_that_is_not_of_this_batch(make_batch, case):
    images, labels = make_batch(5, 3, 24, 32)
    mixed = case.build()(images, labels, generator=seeded())
    wrong = [images[:4], images[0], torch.cat([images, images])]
    if mixed.masks is not None and mixed.masks.shape[2:] == (24, 32):
        wrong += [images[:, :, :12], images.transpose(2, 3), images[..., :1]]
    for other in wrong:
        with pytest.raises(ValueError):
            mixed.apply(other)


@every_case
def test_gradients_flow_back_to_the_sources(make_batch, case):
    images, labels = make_batch()
    images.requires_grad_()
    mixed = case.build()(images, labels, generator=seeded())
    (gradient,) = torch.autograd.grad(mixed.images.sum(), images)
    assert bool(gradient.isfinite().all()) and bool(gradient.any())
    if case.among(ALTERS):
        return
    # Each output pixel is an average of input pixels: the gradient spreads a total of one over them, or none of it.
    shown = mixed.masks.sum(1, keepdim=True).expand_as(images).sum() if case.among(ERASES) else images.numel()
    assert float(gradient.sum()) == pytest.approx(float(shown), rel=1e-5)
    assert bool((gradient >= 0).all())


@every_case
def test_apply_compiles_whole_and_equals_eager(make_batch, case):
    """One graph serves many plans: a second one may be added when sizes turn dynamic, not one a step."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounter()  # an eager backend that counts graphs

    @torch.compile(fullgraph=True, backend=counter)
    def applied(plan, x: Tensor) -> Tensor:
        return plan.apply(x)

    images, labels = make_batch()
    for seed in range(5):
        mixed = case.build()(images, labels, generator=seeded(seed))
        assert torch.equal(applied(mixed.plan, images), mixed.images)
    assert counter.frame_count <= 2
    torch._dynamo.reset()


@every_case
def test_plan_moves_to_a_device(make_batch, case):
    images, labels = make_batch()
    mixed = case.build()(images, labels, generator=seeded())
    assert torch.equal(mixed.plan.to(torch.device("cpu")).apply(images), mixed.images)
    assert mixed.plan.to("meta").apply(images.to("meta")).device.type == "meta"
    # The move made a new plan; the old one still serves.
    assert torch.equal(mixed.plan.apply(images), mixed.images)


# The ways to name a mixer


@every_case
def test_build_class_and_function_agree(make_batch, case):
    images, labels = make_batch()
    built = case.build_bare()
    cls, needs = type(built), make_needs(built.needs, images)
    assert getattr(openmix, cls.__name__) is cls
    result = built(images, labels, generator=seeded(), **needs)
    if case.preset is None:
        assert_same(result, cls(**case.hyper)(images, labels, generator=seeded(), **needs))
        assert_same(result, function_of(case.name)(images, labels, generator=seeded(), **needs, **case.hyper))
    else:
        assert_same(result, cls(preset=case.preset, **case.hyper)(images, labels, generator=seeded(), **needs))


@every_case
def test_a_model_at_hand_is_ignored(make_batch, case):
    images, labels = make_batch()
    with_model = case.build()(images, labels, generator=seeded(), model=torch.nn.Identity())
    assert_same(with_model, case.build()(images, labels, generator=seeded()))


@every_case
def test_a_misspelt_keyword_is_not_swallowed(make_batch, case):
    images, labels = make_batch()
    with pytest.raises((TypeError, ValueError), match="salency"):
        case.build()(images, labels, generator=seeded(), salency=torch.rand(5, 24, 32))


@every_case
def test_copies_and_pickles_mix_alike(make_batch, case):
    images, labels = make_batch()
    mixer = case.build_bare()
    needs = make_needs(mixer.needs, images)
    result = mixer(images, labels, generator=seeded(), **needs)
    for twin in (copy.deepcopy(mixer), pickle.loads(pickle.dumps(mixer))):
        assert type(twin) is type(mixer) and repr(twin) == repr(mixer)
        assert (twin.kind, twin.needs) == (mixer.kind, mixer.needs)
        assert_same(result, twin(images, labels, generator=seeded(), **needs))


@pytest.mark.parametrize("name", input_mixers())
def test_signature_declares_needs_and_defaults(name):
    parameters = inspect.signature(function_of(name)).parameters
    assert list(parameters)[:2] == ["images", "labels"]
    rest = {n: p for n, p in parameters.items() if n not in ("images", "labels")}
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in rest.values()), "no **kwargs that swallow typos"
    assert rest["generator"].default is None
    required = {n for n, p in rest.items() if p.default is inspect.Parameter.empty}
    assert required == set(openmix.build_mixer(name).needs)


@pytest.mark.parametrize("name", [name for name in input_mixers() if openmix.build_mixer(name).needs])
def test_a_missing_need_is_named(make_batch, name):
    images, labels = make_batch()
    mixer = openmix.build_mixer(name)
    with pytest.raises((TypeError, ValueError), match=mixer.needs[0]):
        mixer(images, labels, generator=seeded())


@every_case
def test_labels_are_passed_on_whatever_they_are(make_batch, case):
    """How many classes there are is known to the loss alone; -100 is a number that losses pass over."""
    images, _ = make_batch()
    labels = torch.tensor([-100, 3, 10**9, 0, -1])
    mixed = case.build()(images, labels, generator=seeded())
    assert torch.equal(mixed.target.labels, labels[mixed.sources])


@every_case
@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda x, y: (x[0], y), ("images", "3, 24, 32")),
        (lambda x, y: (x[:, None], y), ("images", "5, 1, 3, 24, 32")),
        (lambda x, y: ((x * 255).to(torch.uint8), y), ("images", "uint8")),
        (lambda x, y: (x.long(), y), ("images", "int64")),
        (lambda x, y: (x, y.float()), ("labels", "float32")),
        (lambda x, y: (x, y.int()), ("labels", "int32")),
        (lambda x, y: (x, y[:4]), ("labels", "4")),
        (lambda x, y: (x, y[:, None]), ("labels", "5, 1")),
        (lambda x, y: (x, torch.nn.functional.one_hot(y, 10)), ("labels", "5, 10")),
    ],
    ids=["3-D", "5-D", "uint8", "int64", "float labels", "int32 labels", "short labels", "column labels", "one-hot"],
)
def test_wrong_inputs_are_named(make_batch, case, spoil, named):
    images, labels = spoil(*make_batch())
    with pytest.raises(ValueError) as error:
        case.build()(images, labels, generator=seeded())
    for word in named:
        assert word in str(error.value)


@every_case
def test_tensors_move_to_the_device_without_waiting(make_batch, case, monkeypatch):
    """A copy from this machine's memory that is not `non_blocking` would stop the program until the device is there."""
    images, labels = (t.to("meta") for t in make_batch())
    waits, original = [], Tensor.to

    def to(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        if self.device.type == "cpu" and result.device.type == "meta" and not kwargs.get("non_blocking"):
            waits.append(tuple(self.shape))
        return result

    monkeypatch.setattr(Tensor, "to", to)
    case.build()(images, labels, generator=seeded())
    assert waits == []


@every_case
def test_an_empty_batch_is_refused(make_batch, case):
    images, labels = make_batch()
    for none in (images[:0], images[:, :0], images[:, :, :0]):
        with pytest.raises(ValueError, match="images are empty"):
            case.build()(none, labels[: len(none)], generator=seeded())


@every_case
def test_draws_do_not_depend_on_the_default_type(make_batch, case):
    images, labels = make_batch()
    single = case.build()(images, labels, generator=seeded())
    torch.set_default_dtype(torch.float64)
    try:
        double = case.build()(images, labels, generator=seeded())
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_draws(single, double)
    torch.testing.assert_close(single.images, double.images)
