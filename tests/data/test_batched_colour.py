"""Batched colours against torchvision: pixels by the drawn parameters, statistics by thousands of draws."""

import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from openmix.data.loaders.batched import Chain, batched
from openmix.data.loaders.batched_colour import Grey, Jitter, Solarised, shift_hue
from openmix.errors import UserError

ADJUST = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
}
JITTERS = [
    v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
    v2.ColorJitter(0.8, (0.2, 3.0), 0.8, 0.5),
    v2.ColorJitter(brightness=(0.0, 4.0)),
    v2.ColorJitter(saturation=2.0),
    v2.ColorJitter(contrast=0.9, saturation=0.9),
    v2.ColorJitter(hue=(0.2, 0.4)),
    v2.ColorJitter(contrast=0.9, hue=0.5),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def coloured(count, channels=3, side=8):
    """Noise about a colour of each image, some of it grey, black or white, with equal channels among the pixels."""
    generator = seeded()
    base = torch.rand(count, channels, 1, 1, generator=generator) * 400 - 70
    noise = torch.rand(count, channels, side, side, generator=generator) * 120 - 60
    images = (base + noise).clamp(0, 255).to(torch.uint8)
    images[::7] = images[::7, :1]
    images[:, -1, 0] = images[:, 0, 0]
    return images


def names_of(jitter):
    return [*jitter.ranges, *(["hue"] if jitter.hue else [])]


def one_by_one(images, jitter, seed, scale):
    """Adjust each image by torchvision, with the stage's own draws, in grey levels."""
    order, factors = jitter.draw_factors(len(images), seeded(seed))
    results = []
    for image, places, values in zip(images, order.tolist(), factors.tolist(), strict=True):
        pixels = image / scale if scale else image
        for k in places:
            pixels = ADJUST[names_of(jitter)[k]](pixels, values[k])
        results.append(pixels * scale if scale else pixels)
    return torch.stack(results)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("transform", JITTERS, ids=repr)
def test_jitter_is_torchvisions_on_floats_rounded_once(transform, channels):
    images = coloured(150, channels)
    jitter = Jitter(transform, images.shape[1:])
    draws = jitter.draw(150, seeded(1))
    before = images.clone()
    out = jitter.apply(images, draws)
    assert draws.dtype == torch.int64 and draws.shape == (jitter.draws, 150)
    assert out.dtype == torch.uint8 and torch.equal(images, before)
    expected = one_by_one(images, jitter, 1, scale=255)
    assert (out - expected).abs().max() <= 0.51


def test_torchvision_cuts_bytes_off_after_each_operation():
    images = coloured(400)
    jitter = Jitter(v2.ColorJitter(0.4, 0.4, 0.4, 0.1), (3, 8, 8))
    out = jitter.apply(images, jitter.draw(400, seeded(1)))
    difference = out.float() - one_by_one(images, jitter, 1, scale=None).float()
    assert 0.5 < difference.mean() < 2 and difference.abs().quantile(0.99) < 6


def test_jitter_without_strength_costs_nothing():
    jitter = Jitter(v2.ColorJitter(), (3, 8, 8))
    images = coloured(5)
    assert jitter.draws == 0 and jitter.draw(5, seeded()).shape == (0, 5)
    assert torch.equal(jitter.apply(images, jitter.draw(5, seeded())), images)
    rows = [Jitter(transform, (3, 8, 8)).draws for transform in JITTERS]
    assert rows == [19, 19, 3, 3, 6, 1, 7]
    assert Jitter(v2.ColorJitter(0.4, 0.4, 0.4, 0.1), (1, 8, 8)).draws == 6


def test_orders_and_factors_are_uniform():
    jitter = Jitter(v2.ColorJitter(0.4, (0.2, 3.0), 0.8, (-0.1, 0.3)), (3, 8, 8))
    order, factors = jitter.draw_factors(24_000, seeded())
    codes = (order * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = codes.unique(return_counts=True)[1]
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 0.001
    for column, (low, high) in zip(factors.T, [(0.6, 1.4), (0.2, 3.0), (0.2, 1.8), (-0.1, 0.3)], strict=True):
        assert stats.kstest(column, stats.uniform(low, high - low).cdf).pvalue > 0.001


def test_what_a_cpu_takes_at_a_time_changes_nothing():
    images = coloured(200)
    jitter = Jitter(JITTERS[0], (3, 8, 8))
    draws = jitter.draw(200, seeded())
    parts = [jitter.apply(images[i : i + 1], draws[:, i : i + 1]) for i in range(200)]
    assert torch.equal(jitter.apply(images, draws), torch.cat(parts))


def test_hue_equals_torchvisions_at_any_turn():
    images = coloured(64).float()
    for turn in (-0.5, -0.31, 0.0, 1 / 6, 0.25, 0.5):
        expected = functional.adjust_hue(images / 255, turn) * 255
        assert (shift_hue(images, torch.full((64,), turn)) - expected).abs().max() < 0.01


@pytest.mark.parametrize("channels", [3, 1])
def test_grey_is_torchvisions(channels):
    images = coloured(60, channels)
    grey = Grey(v2.RandomGrayscale(0.5), images.shape[1:])
    draws = grey.draw(60, seeded())
    assert {0, 1} == set(draws[0].tolist())
    for image, result, chosen in zip(images, grey.apply(images, draws), draws[0], strict=True):
        expected = functional.rgb_to_grayscale(image / 255, channels) * 255 if chosen else image
        assert (result - expected).abs().max() <= 0.51
        assert chosen or torch.equal(result, image)


@pytest.mark.parametrize("threshold", [0, 100, 128.5, 256])
def test_solarised_is_torchvisions(threshold):
    images = coloured(60)
    stage = Solarised(v2.RandomSolarize(threshold, p=0.5), (3, 8, 8))
    draws = stage.draw(60, seeded())
    for image, result, chosen in zip(images, stage.apply(images, draws), draws[0], strict=True):
        inverted = torch.where(image >= threshold, 255 - image, image)
        assert torch.equal(result, inverted if chosen else image)


@pytest.mark.parametrize(
    ("transform", "name"),
    [(v2.ColorJitter(0.4), "ColorJitter"), (v2.RandomGrayscale(), "RandomGrayscale"),
     (v2.RandomSolarize(128), "RandomSolarize")],
)  # fmt: skip
def test_other_channels_are_refused(transform, name):
    with pytest.raises(UserError, match=f"{name} works on images of one or three channels; these have 4"):
        batched([transform], (4, 8, 8))


HUE = torch.tensor([[0, 2], [3**0.5, -1], [-(3**0.5), -1]])  # the colours' places on a circle, y and x
# Each statistic is of one image. They tell a wrong probability or range: see the last test.
STATISTICS = {
    "mean": lambda images: images.mean((1, 2, 3)),
    "std": lambda images: images.flatten(1).std(1),
    "red": lambda images: images[:, 0].mean((1, 2)),
    "green": lambda images: images[:, 1].mean((1, 2)),
    "blue": lambda images: images[:, 2].mean((1, 2)),
    "colourfulness": lambda images: (images.amax(1) - images.amin(1)).mean((1, 2)),
    "hue": lambda images: torch.atan2(*(images.mean((2, 3)) @ HUE).T),
    "black or white": lambda images: ((images == 0) | (images == 255)).float().mean((1, 2, 3)),
}
COUNT = 10_000
ONE = torch.stack([(0.3 + 0.2 * k + 0.3 * torch.rand(8, 8, generator=seeded(k))) * 200 for k in range(3)]).byte()


def pipeline(strength=0.4, jitter_p=0.8, grey_p=0.2, solarise_p=0.2, hue=0.1):
    return [
        v2.RandomApply([v2.ColorJitter(strength, strength, strength, hue)], p=jitter_p),
        v2.RandomGrayscale(grey_p),
        v2.RandomSolarize(128, p=solarise_p),
    ]


def least_pvalue(ours, theirs):
    """Return the least of the statistics' p-values, by Kolmogorov and Smirnov, and of two shares', by Fisher."""
    values = [stats.ks_2samp(f(ours.float()), f(theirs.float())).pvalue for f in STATISTICS.values()]
    for event in (
        lambda images: (images == images[:, :1]).flatten(1).all(1),  # grey
        lambda images: (images == ONE).flatten(1).all(1),  # unchanged
    ):
        table = [[int(chosen), COUNT - int(chosen)] for chosen in (event(ours).sum(), event(theirs).sum())]
        values.append(stats.fisher_exact(table).pvalue)
    return min(values)


@pytest.fixture(scope="module")
def theirs():
    """One image through torchvision's transforms, many times, in floats and rounded at the end."""
    compose = v2.Compose([v2.ToDtype(torch.float32, scale=True), *pipeline()[:2]])
    solarise = pipeline()[2]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.stack([solarise((compose(ONE) * 255).round().byte()) for _ in range(COUNT)])


def ours(transforms, seed=0):
    images = ONE.expand(COUNT, -1, -1, -1)
    chain = Chain(batched(transforms, (3, 8, 8)), (3, 8, 8))
    return chain.apply(images, chain.draw(COUNT, seeded(seed)))


def test_a_pipeline_is_distributed_as_torchvisions(theirs):
    assert least_pvalue(ours(pipeline()), theirs) > 0.005


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 0.5},
        {"strength": 0.3},
        {"jitter_p": 0.75},
        {"grey_p": 0.25},
        {"solarise_p": 0.25},
        {"hue": 0.15},
        {"hue": 0.06},
    ],
    ids=repr,
)
def test_a_wrong_probability_or_range_would_show(wrong, theirs):
    assert least_pvalue(ours(pipeline(**wrong)), theirs) < 0.001
