"""Saliency of an image from the image alone, batched and on its device: the spectral residual, and OpenCV's fine grain.

Both say where an image differs from what surrounds it, and know nothing of classes.
"""

from math import exp

import torch
from torch import Tensor
from torch.nn import functional as F

from openmix.ops.augment.filters import to_gray

__all__ = ["fine_grained", "fine_grained_misread", "gaussian_blur", "spectral_residual"]

# how far the six surrounds of a pixel reach, in pixels
REACHES = (12, 24, 48, 28, 56, 112)


def spectral_residual(images: Tensor) -> Tensor:
    """Return the spectral residual (Hou & Zhang, CVPR 2007): where an image is not like images in general.

    The logarithm of an image's Fourier amplitude is smooth for most images; what is left of it after a 3x3 mean is
    taken off belongs to what stands out, and is transformed back with the image's own phase. Settings are those of
    GuidedMixup's code: gray images, at 128x128 where they are larger; the magnitude of the result, which the paper
    squares; and a Gaussian blur of 7 pixels and standard deviation 3.

    Args:
        images: floating (B, C, H, W), in any unit: a factor common to all channels changes nothing but rounding, an
            offset the lowest frequencies alone.

    Returns:
        float32 (B, H, W), >= 0; without a gradient.

    >>> image = torch.zeros(1, 3, 32, 32)
    >>> image[:, :, 20:23, 8:11] = 1
    >>> saliency = spectral_residual(image)
    >>> bool(saliency[0, 20:23, 8:11].mean() > 3 * saliency.mean())
    True
    """
    gray, size = to_gray(images.detach().float()), images.shape[2:]
    large = max(size) > 128
    if large:
        gray = F.interpolate(gray, (128, 128), mode="bilinear", align_corners=False)
    spectrum = torch.fft.fft2(gray[:, 0])
    amplitude = (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()
    log = amplitude.log()
    usual = F.avg_pool2d(F.pad(log, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    saliency = gaussian_blur(torch.fft.ifft2(spectrum * ((log - usual).exp() / amplitude)).abs(), 7, 3.0)
    if large:
        saliency = F.interpolate(saliency[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    return saliency


def fine_grained(images: Tensor) -> Tensor:
    """Return OpenCV's ``StaticSaliencyFineGrained`` (Montabone & Soto, 2010): where gray differs from its surround.

    How much brighter, and how much darker, a pixel of the blurred 8-bit gray image is than the mean of the window about
    it is summed over six sizes of window; both sums are scaled to 255 at their largest, and added. All of it is done
    with OpenCV's rounding, so that levels are the same; but a level above 255, which a pixel only has that is among the
    brightest and among the darkest of its surrounds at once, is kept, where OpenCV begins again at 0.

    Args:
        images: floating (B, C, H, W), black 0 and white 1, three channels being red, green and blue.

    Returns:
        float32 (B, H, W) in [0, 2], OpenCV's levels / 255; 0 all over for images of one colour. Without a gradient.

    >>> image = torch.zeros(1, 3, 32, 32)
    >>> image[:, :, 20:23, 8:11] = 1
    >>> divmod(int(fine_grained(image).argmax()), 32)
    (21, 9)
    """
    levels = (images.detach().float() * 255).round().clamp(0, 255)
    if images.shape[1] == 3:  # OpenCV's luma, in parts of 2 ** 15
        red, green, blue = levels.unbind(1)
        gray = ((9798 * red + 19235 * green + 3735 * blue + 16384) / 32768).floor()
    else:
        gray = levels.mean(1).round()
    for _ in range(2):
        gray = (_binomial(gray) + 0.5).floor()
    return _centre_surround(gray, gray)


def fine_grained_misread(images: Tensor) -> Tensor:
    """Return what OpenCV's ``StaticSaliencyFineGrained`` makes of float images: a map of bytes, not of the image.

    OpenCV takes them without complaint, but reads the gray image, float32 by then, as if it were 8-bit: the "pixel" in
    column x is byte x mod 4 of the number in column x div 4. Means of the surround are those of the true numbers, about
    zero in normalised images. So the map is, up to that, the bytes themselves: two columns in four are the low bits of
    a mantissa, as good as noise; one holds its leading bits; one, the sign and the exponent, is never the largest. The
    right three quarters of the image are not looked at. This is how SaliencyMix and its ports are wired, and their
    "most salient pixel" is a random one of those columns. Of one channel, levels are OpenCV's; of three, the last bit
    of the luma may be rounded otherwise, which moves the largest of one image in seven.

    Args:
        images: floating (B, C, H, W), of which the three channels are weighed as blue, green and red.

    Returns:
        float32 (B, H, W) in [0, 2]; without a gradient.

    >>> peaks = fine_grained_misread(torch.randn(500, 1, 32, 32)).flatten(1).argmax(1) % 4
    >>> peaks.bincount(minlength=4)[3]
    tensor(0)
    """
    images = images.detach().float()
    gray = to_gray(images.flip(1))[:, 0]
    for _ in range(2):
        gray = _binomial(gray)
    read = gray.contiguous().view(torch.uint8)[:, :, : gray.shape[2]]
    return _centre_surround(gray, read.float())


def gaussian_blur(maps: Tensor, size: int, sigma: float) -> Tensor:
    """Blur by a Gaussian cut off at ``size`` pixels, odd, of standard deviation ``sigma``; borders are mirrored.

    Args:
        maps: floating (B, H, W), of any height and width.

    >>> gaussian_blur(torch.tensor([[[0.0, 0.0, 1.0]]]), 3, 1e-3)
    tensor([[[0., 0., 1.]]])
    """
    radius = size // 2
    taps = [exp(-0.5 * (i / sigma) ** 2) for i in range(-radius, radius + 1)]
    taps = [tap / sum(taps) for tap in taps]
    for dim in (2, 1):
        length, padded = maps.shape[dim], _mirrored(maps, dim, radius)
        # sums, because a convolution would be done in half precision under autocast
        maps = padded.narrow(dim, 0, length) * taps[0]
        for i, tap in enumerate(taps[1:], start=1):
            maps.add_(padded.narrow(dim, i, length), alpha=tap)
    return maps


def _binomial(maps: Tensor) -> Tensor:
    """Blur by 1/4, 1/2, 1/4, along rows and then along columns, in OpenCV's order of sums."""
    for dim in (2, 1):
        length, padded = maps.shape[dim], _mirrored(maps, dim, 1)
        maps = (padded.narrow(dim, 0, length) + padded.narrow(dim, 2, length)) * 0.25 + maps * 0.5
    return maps


def _mirrored(maps: Tensor, dim: int, radius: int) -> Tensor:
    """Extend by ``radius`` on either side, mirrored about the first and the last pixel, as often as it takes."""
    length = maps.shape[dim]
    if radius < length:
        return F.pad(maps, (radius, radius) if dim == 2 else (0, 0, radius, radius), mode="reflect")
    period = max(2 * length - 2, 1)
    index = torch.arange(-radius, length + radius, device=maps.device).abs() % period
    return maps.index_select(dim, torch.minimum(index, period - index) if length > 1 else index)


def _centre_surround(gray: Tensor, centre: Tensor) -> Tensor:
    """Return by how much ``centre`` (B, H, W), in levels, is off the mean of ``gray`` about it: levels / 255."""
    # summed as whole numbers, which come to the same in any order, on any device
    integral = (gray.double() * 2**32).round().long().cumsum(1).cumsum(2)
    integral = F.pad(integral.double() / 2**32, (1, 0, 1, 0)).float()
    brighter, darker, width = torch.zeros_like(centre), torch.zeros_like(centre), gray.shape[2]
    for reach in REACHES:
        (y0, y1), (x0, x1) = (_window(length, reach, gray.device) for length in gray.shape[1:])
        # columns are copied to where those beyond the border begin, as they are slow to select one by one
        across = min(reach, width)
        upper, lower = (F.pad(integral.index_select(1, y), (across - 1, across), mode="replicate") for y in (y0, y1))
        (upper_left, upper_right), (lower_left, lower_right) = (
            (rows[:, :, :width], rows[:, :, 2 * across :]) for rows in (upper, lower)
        )
        count = (y1 - y0)[:, None] * (x1 - x0) - 1
        total = lower_right + upper_left - lower_left - upper_right
        difference = centre - (total - centre) / count.clamp(min=1)
        for sums, sign in ((brighter, 1), (darker, -1)):
            sums += (sign * difference).clamp(min=0).floor() % 256  # 8-bit numbers, all of them
    levels = [(255 * sums / sums.amax((1, 2), keepdim=True).clamp(min=1)).floor() for sums in (brighter, darker)]
    return (levels[0] + levels[1]) / 255


def _window(length: int, reach: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the first and the last line but one of the window about each line, cut off at the border."""
    line = torch.arange(length, device=device)
    return (line - reach + 1).clamp(min=0), (line + reach + 1).clamp(max=length)
