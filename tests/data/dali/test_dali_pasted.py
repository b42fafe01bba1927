"""ScaleMix and CropMix's pair through DALI: crop by crop what torchvision gives for what was drawn."""

import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from openmix.data import DaliLoader
from openmix.data.dali.counterparts import counterparts
from openmix.data.decoding import read_image
from openmix.data.transforms import CropMixPair, ScaleMix, Views
from openmix.errors import UserError

from .test_dali_loader import inputs_of

pytest.importorskip("nvidia.dali", reason="DALI is not installed")

PIPELINE = [v2.RandomGrayscale(0.5), v2.RandomHorizontalFlip()]


def by_hand(source, size, inputs):
    """Return the pasted crops of one image."""
    crops = []
    for k in range(2):
        (y, x), (h, w) = inputs[2 * k].tolist(), inputs[2 * k + 1].tolist()
        crop = functional.resized_crop(source, y, x, h, w, [size, size], antialias=True)
        grey, mirrored = inputs[4 + 2 * k : 6 + 2 * k]
        crop = functional.rgb_to_grayscale(crop, 3).contiguous() if grey else crop
        crops.append(crop.flip(-1) if mirrored else crop)
    (y, x), (h, w) = inputs[8].tolist(), inputs[9].tolist()
    crops[0][:, y : y + h, x : x + w] = crops[1][:, y : y + h, x : x + w]
    return crops[0]


@pytest.mark.parametrize("transform", [ScaleMix(24, PIPELINE), CropMixPair(40, PIPELINE)])
@pytest.mark.parametrize("within", [False, True])
def test_pasted_crops_are_torchvisions(photographs, monkeypatch, transform, within):
    pipeline = [Views([[], [transform]])] if within else [transform]
    pipeline = [v2.Resize([60, 80]), *pipeline] if within else pipeline
    sources = [read_image(photographs.name(i)).contiguous() for i in range(len(photographs))]
    sources = [functional.resize(image, [60, 80], antialias=True) for image in sources] if within else sources
    loader = DaliLoader(photographs, 10, pipeline=pipeline)
    drawn = inputs_of(loader, monkeypatch)
    flags = []
    for (_, batch), inputs in zip(loader.epoch(0), drawn, strict=False):
        inputs = inputs[-10:]
        for i, image in enumerate(batch.views[-1]):
            own = [tensor[i] for tensor in inputs]
            expected = by_hand(sources[int(batch.index[i])], transform.size, own)
            difference = (image.int() - expected.int()).abs()
            # where noise is enlarged, and a level for each rounding
            assert difference.max() <= 6 and difference.float().mean() < 0.7
            flags.append([*map(int, own[4:8])])
    shares = torch.tensor(flags).float().mean(0)
    assert (shares > 0).all() and (shares < 1).all()
    assert any(f[0] != f[2] for f in flags) and any(f[1] != f[3] for f in flags)  # each crop draws its own


def test_areas_are_within_their_bands():
    sizes = torch.tensor([[200, 200]]).expand(4000, 2)
    for transform, bands in ((CropMixPair(32, []), ((0.2, 0.6), (0.6, 1))), (ScaleMix(32, []), ((0.2, 1), (0.2, 1)))):
        (stage,) = counterparts([transform])
        inputs, after = stage.draw(sizes, torch.Generator().manual_seed(0))
        assert after.unique().tolist() == [32] and len(inputs) == len(stage.inputs)
        areas = [inputs[k].prod(1) / 200**2 for k in (1, 3)]
        for area, (low, high) in zip(areas, bands, strict=True):
            assert low - 0.01 <= area.min() < low + 0.01 and high - 0.1 < area.max() <= 1
        assert abs(torch.corrcoef(torch.stack(areas))[0, 1]) < 0.05


def test_the_pasted_box_covers_what_cutmix_boxes_cover():
    """A clipped box of U(0, 1) of the area: 0.318 of the image in the mean."""
    (stage,) = counterparts([CropMixPair(224, [])])
    sizes = torch.tensor([[200, 200]]).expand(20_000, 2)
    *_, corners, shapes = stage.draw(sizes, torch.Generator().manual_seed(0))[0]
    assert corners.min() >= 0 and (corners + shapes).max() <= 224
    assert abs((shapes.prod(1) / 224**2).mean() - 0.318) < 0.005


def test_an_empty_box_leaves_the_first_crop(photographs, monkeypatch):
    """Half of a side of 1 is rounded down to nothing, so that at this size nothing is ever pasted."""
    loader = DaliLoader(photographs, 23, pipeline=[Views([[CropMixPair(1, [])]])])
    drawn = inputs_of(loader, monkeypatch)
    (pasted,) = loader.evaluate()
    assert drawn[0][-1].unique().tolist() == [0]
    # which draws the same, as it is the first to draw
    (first,) = DaliLoader(photographs, 23, pipeline=[Views([[v2.RandomResizedCrop(1, (0.2, 0.6))]])]).evaluate()
    assert torch.equal(pasted.images, first.images) and len(pasted.images.unique()) > 10


def test_what_is_wrong_in_its_pipeline_is_named(photographs):
    with pytest.raises(UserError, match="DaliLoader has no counterpart of RandomPosterize"):
        DaliLoader(photographs, 4, pipeline=[ScaleMix(24, [v2.RandomPosterize(3)])])
    loader = DaliLoader(photographs, 4, pipeline=[ScaleMix(24, [v2.CenterCrop(20)])])
    with pytest.raises(UserError, match="ScaleMix: its pipeline must keep a crop's size"):
        list(loader.evaluate())
