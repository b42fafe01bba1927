"""Saliency of the image alone: OpenCV's algorithm as loops, what OpenCV itself says of real images, and NumPy's FFT."""

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torchvision.transforms import functional as tv

from openmix.ops.saliency import fine_grained, fine_grained_misread, gaussian_blur, spectral_residual

SHARED = Path(__file__).parents[3] / "shared/data"
GOLDEN = json.loads(Path(__file__).with_name("opencv_fine_grained.json").read_text())
RNG = np.random.default_rng
# one row of steps, where OpenCV's levels overflow
STEPS = np.repeat(np.array([117, 247, 225, 171, 138, 125], np.uint8), [1, 25, 4, 45, 45, 20])[None, :, None]


def scene(height: int, width: int, seed: int, channels: int = 3) -> np.ndarray:
    """A smooth random picture with a few spots, uint8 (H, W, C)."""
    rng = RNG(seed)
    picture = ndimage.gaussian_filter(rng.normal(size=(height, width, channels)), (3, 3, 0)) * 300 + 120
    for _ in range(3):
        y, x = rng.integers(height - 2), rng.integers(width - 2)
        picture[y : y + 3, x : x + 3] += rng.normal(size=channels) * 120
    return picture.clip(0, 255).astype(np.uint8)


def as_tensor(*pictures: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(p.transpose(2, 0, 1).copy()) for p in pictures]).float() / 255


@pytest.fixture(scope="module")
def cifar() -> np.ndarray:
    if not (SHARED / "cifar10/test.webp").is_file():
        pytest.skip("the real CIFAR-10 images are not at ../shared/data/cifar10")
    mosaic = np.asarray(Image.open(SHARED / "cifar10/test.webp").convert("RGB"))
    return mosaic.reshape(100, 32, 100, 32, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 32, 32, 3)[:64]


# OpenCV's algorithm, said again as loops over pixels


def reflect(i: int, n: int) -> int:
    while n > 1 and not 0 <= i < n:
        i = -i if i < 0 else 2 * n - 2 - i
    return i if n > 1 else 0


def centre_surround(gray: list[list], centre: list[list[int]]) -> list[list[int]]:
    """Levels, 0 to 510, as the description has them: sums over windows, and no integral image."""
    height, width = len(gray), len(gray[0])
    f = np.float32
    sums = {1: [[0] * width for _ in range(height)], -1: [[0] * width for _ in range(height)]}
    for y in range(height):
        for x in range(width):
            for n in (12, 24, 48, 28, 56, 112):
                rows = range(max(y - n + 1, 0), min(y + n + 1, height))
                columns = range(max(x - n + 1, 0), min(x + n + 1, width))
                total = f(sum(float(gray[i][j]) for i in rows for j in columns))
                count = len(rows) * len(columns) - 1
                mean = (total - f(centre[y][x])) / f(max(count, 1))
                for sign, table in sums.items():
                    excess = sign * (f(centre[y][x]) - mean)
                    table[y][x] += int(excess) % 256 if excess > 0 else 0
    scaled = [[[255 * v // max(1, max(map(max, t))) for v in row] for row in t] for t in sums.values()]
    return [[a + b for a, b in zip(*rows, strict=True)] for rows in zip(*scaled, strict=True)]


def loops_of_8_bit(picture: np.ndarray) -> list[list[int]]:
    height, width, channels = picture.shape
    p = picture.tolist()
    if channels == 3:
        gray = [[(9798 * r + 19235 * g + 3735 * b + 2**14) >> 15 for r, g, b in row] for row in p]
    else:
        gray = [[round(sum(px) / channels) for px in row] for row in p]
    for _ in range(2):
        gray = [
            [
                (
                    sum(
                        (2 - abs(i)) * (2 - abs(j)) * gray[reflect(y + i, height)][reflect(x + j, width)]
                        for i in (-1, 0, 1)
                        for j in (-1, 0, 1)
                    )
                    + 8
                )
                >> 4
                for x in range(width)
            ]
            for y in range(height)
        ]
    return centre_surround(gray, gray)


def levels(maps: torch.Tensor) -> list:
    scaled = maps * 255
    assert torch.allclose(scaled, scaled.round(), rtol=0, atol=1e-3)
    return scaled.round().int().tolist()


@pytest.mark.parametrize("shape", [(20, 26, 3), (17, 9, 1), (33, 30, 3), (1, 12, 3), (5, 1, 1), (1, 1, 3)], ids=str)
def test_fine_grained_is_opencvs_algorithm(shape):
    height, width, channels = shape
    pictures = [scene(height + 4, width + 4, seed, channels)[:height, :width] for seed in range(3)]
    assert levels(fine_grained(as_tensor(*pictures))) == [loops_of_8_bit(p) for p in pictures]


def test_levels_above_255_are_kept():
    """A pixel that is brighter than what is near and darker than what is far has both; OpenCV begins again at 0."""
    got = levels(fine_grained(as_tensor(STEPS)))
    assert got == [loops_of_8_bit(STEPS)]
    assert max(got[0][0]) == 274


@pytest.mark.parametrize("width", [24, 22])
def test_misread_reads_the_bytes_of_floats(width):
    f = np.float32
    x = RNG(3).normal(size=(3, 20, width)).astype(f)
    wanted = []
    for picture in x:
        gray = picture
        for _ in range(2):
            h, w = gray.shape
            across = np.empty_like(gray)
            for j in range(w):
                left, right = gray[:, reflect(j - 1, w)], gray[:, reflect(j + 1, w)]
                across[:, j] = (left + right) * f(0.25) + gray[:, j] * f(0.5)
            gray = np.empty_like(across)
            for i in range(h):
                above, below = across[reflect(i - 1, h)], across[reflect(i + 1, h)]
                gray[i] = (above + below) * f(0.25) + across[i] * f(0.5)
        bytes_ = [list(b"".join(struct.pack("<f", v) for v in row))[:width] for row in gray]
        wanted.append(centre_surround(gray.tolist(), bytes_))
    got = np.array(levels(fine_grained_misread(torch.from_numpy(x)[:, None])))
    # a mean is a sum of floats in some order: now and then it falls on the other side of a whole number
    off = np.abs(got - np.array(wanted))
    assert off.max() <= 1 and (off > 0).mean() < 0.02


def test_misread_weighs_three_channels_the_wrong_way_round():
    x = torch.randn(4, 3, 16, 16)
    blue_green_red = (0.114 * x[:, 0] + 0.587 * x[:, 1] + 0.299 * x[:, 2])[:, None]
    peaks = [fine_grained_misread(t).flatten(1) for t in (x, blue_green_red)]
    # the last bits of a sum are noise here, the bytes above them are not
    third = torch.arange(256) % 16 % 4 == 2
    assert torch.corrcoef(torch.stack([p[:, third].flatten() for p in peaks]))[0, 1] > 0.95


def test_misread_has_nothing_to_do_with_the_image():
    """Its map does not correlate with the image's, its peaks lie anywhere, but for one column in four."""
    images = as_tensor(*[scene(32, 32, seed) for seed in range(200)])
    right, wrong = (m.flatten(1) for m in (fine_grained(images), fine_grained_misread((images - 0.45) / 0.25)))
    assert abs(float(torch.corrcoef(torch.stack([right.flatten(), wrong.flatten()]))[0, 1])) < 0.05
    peak = wrong.argmax(1)
    assert len(peak.unique()) > 120
    assert peak.remainder(4).bincount(minlength=4)[3] == 0
    assert float((peak == right.argmax(1)).float().mean()) < 0.05


# OpenCV itself


def test_levels_are_those_that_opencv_gave_real_images(cifar):
    maps = torch.tensor(levels(fine_grained(as_tensor(*cifar))), dtype=torch.uint8)
    assert [[int(m.argmax()), zlib.crc32(m.numpy().tobytes())] for m in maps] == GOLDEN["fine_grained"]


def test_misread_levels_are_those_that_opencv_gave_real_images(cifar):
    green = (cifar[..., 1].astype(np.float32) / np.float32(255) - np.float32(0.4822)) / np.float32(0.2435)
    maps = torch.tensor(levels(fine_grained_misread(torch.from_numpy(green)[:, None])), dtype=torch.uint8)
    assert [[int(m.argmax()), zlib.crc32(m.numpy().tobytes())] for m in maps] == GOLDEN["misread"]


@pytest.mark.skipif(not hasattr(cv2, "saliency"), reason="this OpenCV is built without contrib's saliency module")
def test_levels_are_those_of_the_opencv_that_is_here():
    photos = sorted((SHARED / "photos").glob("*.JPEG"))[:8]
    pictures = [np.asarray(Image.open(p).convert("RGB").resize((97, 61))) for p in photos]
    pictures += [scene(61, 97, seed) for seed in range(4)]
    detector = cv2.saliency.StaticSaliencyFineGrained_create()  # pyright: ignore[reportAttributeAccessIssue]
    pictures.append(STEPS.repeat(3, axis=2))
    for picture in pictures:
        (got,) = levels(fine_grained(as_tensor(picture)))
        _, wanted = detector.computeSaliency(np.ascontiguousarray(picture[:, :, ::-1]))
        assert np.array_equal(np.array(got) % 256, np.rint(wanted * 255))


# Spectral residual


def numpy_residual(picture: np.ndarray) -> np.ndarray:
    """Of an RGB image in [0, 1], in double precision; large ones are resized by OpenCV."""
    gray = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    size = gray.shape
    if max(size) > 128:
        gray = cv2.resize(gray, (128, 128), interpolation=cv2.INTER_LINEAR)
    spectrum = np.fft.fft2(gray)
    log = np.log(np.sqrt(np.abs(spectrum) ** 2 + 1e-10))
    residual = log - ndimage.uniform_filter(log, 3, mode="nearest")
    shown = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum))))
    taps = np.exp(-0.5 * (np.arange(-3, 4) / 3) ** 2)
    for axis in (0, 1):
        shown = ndimage.correlate1d(shown, taps / taps.sum(), axis, mode="mirror")
    return cv2.resize(shown, size[::-1], interpolation=cv2.INTER_LINEAR) if max(size) > 128 else shown


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 48), (128, 100), (96, 200), (224, 224)])
def test_spectral_residual_is_numpys(height, width):
    pictures = [scene(height, width, seed) for seed in range(2)]
    got = spectral_residual(as_tensor(*pictures)).double().numpy()
    for picture, one in zip(pictures, got, strict=True):
        wanted = numpy_residual(picture / 255)
        np.testing.assert_allclose(one, wanted, rtol=2e-3, atol=2e-3 * wanted.max())


def test_spectral_residual_of_real_images(cifar):
    got = spectral_residual(as_tensor(*cifar)).numpy()
    wanted = np.stack([numpy_residual(picture / 255) for picture in cifar])
    np.testing.assert_allclose(got, wanted, rtol=5e-3, atol=5e-3 * wanted.max())
    assert np.array_equal(got.reshape(64, -1).argmax(1), wanted.reshape(64, -1).argmax(1))


def test_spectral_residual_does_not_know_units():
    images = as_tensor(*[scene(32, 40, seed) for seed in range(3)])
    torch.testing.assert_close(spectral_residual(images * 255), spectral_residual(images), rtol=1e-3, atol=1e-5)


# Both


MAPS = [fine_grained, fine_grained_misread, spectral_residual]


@pytest.mark.parametrize("saliency", MAPS)
def test_a_map_does_not_depend_on_the_other_images(saliency):
    images = as_tensor(*[scene(24, 36, seed) for seed in range(5)])
    alone = torch.cat([saliency(x[None]) for x in images])
    torch.testing.assert_close(saliency(images), alone, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("saliency", MAPS)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_images_of_one_colour(saliency, value):
    maps = saliency(torch.full((2, 3, 20, 24), value))
    assert maps.shape == (2, 20, 24) and bool(maps.isfinite().all()) and bool((maps >= 0).all())
    if saliency is fine_grained:
        assert not maps.any()


@pytest.mark.parametrize("saliency", MAPS)
def test_no_gradient_no_change_and_any_layout(saliency):
    images = as_tensor(*[scene(24, 36, seed) for seed in range(2)]).requires_grad_()
    kept = images.detach().clone()
    maps = saliency(images)
    assert not maps.requires_grad and torch.equal(images, kept)
    assert torch.equal(saliency(images.contiguous(memory_format=torch.channels_last)), maps)
    half = images.detach().bfloat16()
    assert saliency(half).dtype == torch.float32 and torch.equal(saliency(half), saliency(half.float()))
    assert saliency(images.to("meta")).shape == maps.shape


# Blur


@pytest.mark.parametrize("shape", [(3, 20, 33), (1, 7, 4), (2, 4, 9)], ids=str)
def test_blur_is_torchvisions(shape):
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(gaussian_blur(maps, 7, 3.0), tv.gaussian_blur(maps, [7, 7], [3.0, 3.0]))


@pytest.mark.parametrize("shape", [(2, 1, 9), (1, 3, 2), (1, 1, 1), (1, 2, 2)], ids=str)
def test_blur_of_maps_smaller_than_its_reach(shape):
    maps = RNG(2).random(shape)
    taps = np.exp(-0.5 * (np.arange(-3, 4) / 3) ** 2)
    wanted = maps
    for axis in (1, 2):
        wanted = ndimage.correlate1d(wanted, taps / taps.sum(), axis, mode="mirror")
    np.testing.assert_allclose(gaussian_blur(torch.from_numpy(maps), 7, 3.0).numpy(), wanted, rtol=1e-6)
