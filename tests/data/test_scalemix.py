"""ScaleMix and CropMixPair against the same draws made by hand."""

import math

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from openmix.data import ArraySource, TorchLoader
from openmix.data.transforms import CropMixPair, ScaleMix, Views
from openmix.data.transforms.crop_boxes import cutmix_boxes
from openmix.errors import UserError

IMAGE = torch.randint(256, (3, 30, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PIPELINE = [v2.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.RandomHorizontalFlip()]
BOTH = pytest.mark.parametrize("kind", [ScaleMix, CropMixPair])


def by_hand(image, size, pipeline, bands):
    """Make both crops, then copy the second's box into the first pixel by pixel; draws from torch's generator."""
    views = []
    for band in bands:
        view = v2.RandomResizedCrop(size, scale=band)(image)
        for transform in pipeline:
            view = transform(view)
        views.append(view)
    lam, centre_y, centre_x = torch.rand(3, dtype=torch.float64).tolist()
    half = int(size * math.sqrt(1 - lam)) // 2
    out = torch.zeros(len(image), size, size, dtype=torch.uint8)
    for y in range(size):
        for x in range(size):
            inside = -half <= y - int(size * centre_y) < half and -half <= x - int(size * centre_x) < half
            out[:, y, x] = views[inside][:, y, x]
    return out


@pytest.mark.parametrize(
    ("make", "bands"),
    [
        (lambda: ScaleMix(24, PIPELINE), [(0.2, 1.0), (0.2, 1.0)]),
        (lambda: ScaleMix(24, PIPELINE, (0.5, 0.5)), [(0.5, 0.5), (0.5, 0.5)]),
        (lambda: CropMixPair(24, PIPELINE), [(0.2, 0.6), (0.6, 1.0)]),
        (lambda: CropMixPair(17, [], [[0.1, 0.2], [0.3, 0.4]]), [(0.1, 0.2), (0.3, 0.4)]),
    ],
)
def test_it_is_what_the_same_draws_give_by_hand(make, bands):
    mix = make()
    for seed in range(12):
        torch.manual_seed(seed)
        mixed = mix(IMAGE)
        torch.manual_seed(seed)
        assert torch.equal(mixed, by_hand(IMAGE, mix.size, mix.pipeline, bands))


@BOTH
def test_nothing_is_written_into_the_image(kind):
    image = IMAGE[:, :24, :24].clone()
    areas = {"scale": (1.0, 1.0)} if kind is ScaleMix else {"bands": ((1.0, 1.0), (0.3, 0.3))}
    for seed in range(20):  # of which some crop the whole image, which is then not resized
        torch.manual_seed(seed)
        kind(24, [], **areas)(image)
    assert torch.equal(image, IMAGE[:, :24, :24])


@BOTH
def test_grey_and_wrapped_images(kind):
    mix = kind(16, [v2.RandomHorizontalFlip()])
    assert mix(IMAGE[:1]).shape == (1, 16, 16)
    torch.manual_seed(0)
    wrapped = mix(tv_tensors.Image(IMAGE))
    torch.manual_seed(0)
    assert torch.equal(wrapped.as_subclass(torch.Tensor), mix(IMAGE))


def test_boxes_have_the_share_that_was_measured_of_the_authors_code():
    boxes = cutmix_boxes(224, np.random.default_rng(0).random((100_000, 3)))
    share = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) / 224**2
    assert abs(share.mean() - 0.318) < 0.005 and abs(np.median(share) - 0.304) < 0.005
    assert abs((share > 0.5).mean() - 0.17) < 0.01


def test_as_the_query_of_two_views():
    source = ArraySource(IMAGE.expand(20, -1, -1, -1).clone(), torch.zeros(20, dtype=torch.int64), ("a",))
    key = [v2.RandomResizedCrop(16, scale=(0.2, 1.0)), *PIPELINE]
    loader = TorchLoader(source, 10, pipeline=[Views([[CropMixPair(16, PIPELINE)], key])])
    for _, batch in loader.epoch(0):
        assert [view.shape for view in batch.views] == [(10, 3, 16, 16)] * 2
        assert len(batch.views[0].unique(dim=0)) == 10


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (ScaleMix, (0, []), "ScaleMix: size must be the edge of the result in pixels, at least 1, got 0"),
        (ScaleMix, ((8, 8), []), "size must be the edge"),
        (ScaleMix, (8, None), "pipeline must be a list of transforms, got None"),
        (CropMixPair, (8, ["Flip"]), r"CropMixPair: pipeline must be a list of transforms, got \['Flip'\]"),
        (ScaleMix, (8, [], (0.0, 1.0)), r"ScaleMix: the areas of a crop .* got \(\(0.0, 1.0\), \(0.0, 1.0\)\)"),
        (ScaleMix, (8, [], (0.5, 0.2)), "the areas of a crop go from a smallest to a largest"),
        (ScaleMix, (8, [], 0.2), "the areas of a crop"),
        (CropMixPair, (8, [], ((0.2, 0.6),)), "for the two crops"),
        (CropMixPair, (8, [], (0.2, 0.6)), "for the two crops"),
        (CropMixPair, (8, [], ((0.2, 0.6), (0.6, 1.1))), "for the two crops"),
    ],
)
def test_wrong_arguments_are_refused(kind, arguments, message):
    with pytest.raises(UserError, match=message):
        kind(*arguments)


@BOTH
@pytest.mark.parametrize(
    ("image", "found"),
    [
        (IMAGE / 255, r"torch.float32 \(3, 30, 40\)"),
        (IMAGE[None], r"torch.uint8 \(1, 3, 30, 40\)"),
        (IMAGE[:, :0], r"torch.uint8 \(3, 0, 40\)"),
        (v2.functional.to_pil_image(IMAGE), "Image"),
    ],
)
def test_anything_but_an_image_is_refused(kind, image, found):
    with pytest.raises(UserError, match=rf"{kind.__name__} takes a uint8 \(C, H, W\) tensor with pixels, not {found}"):
        kind(8, [])(image)


@BOTH
@pytest.mark.parametrize(
    ("transform", "found"),
    [
        (v2.ToDtype(torch.float32, scale=True), r"torch.float32 \(3, 8, 8\)"),
        (v2.CenterCrop(4), r"torch.uint8 \(3, 4, 4\)"),
        (lambda image: (image, image), "tuple"),
    ],
)
def test_a_pipeline_that_does_not_keep_a_crop_is_refused(kind, transform, found):
    with pytest.raises(UserError, match=rf"must keep a crop as it is, uint8 \(3, 8, 8\), not make it {found}"):
        kind(8, [transform])(IMAGE)
