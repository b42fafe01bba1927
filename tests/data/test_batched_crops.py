"""Batched crops against Pillow, torchvision and the transforms of single images that they stand for."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.datasets import load_sample_image
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms import v2

from openmix.data import ArraySource, ResidentLoader
from openmix.data.loaders.batched import batched
from openmix.data.loaders.batched_crops import CropMixed, ResizedCrop, resized_crop
from openmix.data.transforms import CropMix
from openmix.data.transforms.cropmix_plan import draw_plans
from openmix.data.transforms.cropmix_single import Plan
from openmix.errors import UserError

COUNT = 40


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photographs(height, width, count=COUNT):
    """Details of two photographs at different scales."""
    rng = np.random.default_rng(0)
    wholes = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    found = []
    for i in range(count):
        factor, whole = int(rng.integers(1, 4)), wholes[i % 2]
        left, top = (int(rng.integers(side - n * factor)) for side, n in zip(whole.size, (width, height), strict=True))
        found.append(np.asarray(whole.crop((left, top, left + width * factor, top + height * factor))
                                .resize((width, height))))  # fmt: skip
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("size", [16, (24, 80), 224])
@pytest.mark.parametrize("shape", [(32, 32), (50, 71), (1, 9)])
def test_crops_are_pillows_within_one_grey_level(shape, size):
    images = photographs(*shape)
    crop = ResizedCrop(v2.RandomResizedCrop(size), (3, *shape))
    draws = crop.draw(COUNT, seeded())
    out = crop.apply(images, draws)
    assert out.shape == (COUNT, *crop.shape) and out.dtype == torch.uint8
    for image, result, (y0, y1, x0, x1) in zip(images, out, draws.T.tolist(), strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy()).crop((x0, y0, x1, y1))
        expected = np.asarray(picture.resize(crop.shape[:0:-1], Image.Resampling.BILINEAR)).astype(int)
        assert np.abs(expected - result.permute(1, 2, 0).numpy()).max() <= 1


def test_a_crop_of_the_size_itself_is_exact():
    images = photographs(20, 30, 2)
    boxes = torch.tensor([[0, 20, 0, 30], [3, 13, 4, 14]]).T
    assert torch.equal(resized_crop(images.float(), torch.tensor([[0, 20, 0, 30]] * 2).T, (20, 30)), images.float())
    small = resized_crop(images.float(), boxes, (10, 10))
    assert torch.equal(small[1], images[1, :, 3:13, 4:14].float())


def test_boxes_are_distributed_as_torchvisions():
    transform = v2.RandomResizedCrop(8, scale=(0.2, 0.9), ratio=(0.5, 1.2))
    y0, y1, x0, x1 = ResizedCrop(transform, (3, 30, 64)).draw(3000, seeded())
    with torch.random.fork_rng():
        torch.manual_seed(1)
        theirs = [transform.make_params([torch.empty(3, 30, 64)]) for _ in range(3000)]
    for mine, name in ((y0, "top"), (x0, "left"), (y1 - y0, "height"), (x1 - x0, "width")):
        assert stats.ks_2samp(mine, [params[name] for params in theirs]).pvalue > 0.001


@pytest.mark.parametrize("operation", [0, 1])
@pytest.mark.parametrize("number", [2, 234])
@pytest.mark.parametrize("inter_aug", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((32, 32), 32), ((50, 71), 40), ((24, 24), 64)])
def test_cropmix_is_that_of_each_image_within_one_grey_level(operation, number, inter_aug, shape, size):
    images = photographs(*shape)
    transform = CropMix(0.1, 0.4, number, operation, inter_aug, size=size)
    stage = CropMixed(transform, (3, *shape))
    draws = stage.draw(COUNT, seeded())
    assert draws.dtype == torch.int64 and draws.shape == (stage.draws, COUNT)
    before = images.clone()
    out = stage.apply(images, draws)
    assert out.shape == (COUNT, *stage.shape) and out.dtype == torch.uint8 and torch.equal(images, before)
    sides = (torch.full((COUNT,), side) for side in shape)
    plans = draw_plans(*sides, transform.settings, seeded())
    for i, (image, result) in enumerate(zip(images, out, strict=True)):
        single = transform.transform(image, {"plan": Plan.of(plans, i)})
        assert (single.int() - result.int()).abs().max() <= 1


def test_stages_follow_each_other():
    pipeline = [v2.RandomResizedCrop((20, 28)), CropMix(0.5, size=16), v2.RandomHorizontalFlip(), v2.RandomCrop(12)]
    stages = batched(pipeline, (3, 30, 40))
    assert [stage.shape[1:] for stage in stages] == [(20, 28), (16, 16), (16, 16), (12, 12)]


def test_in_the_resident_loader():
    images = photographs(32, 32, 30)
    source = ArraySource(images, torch.arange(30) % 3, ("a", "b", "c"))
    pipeline = [CropMix(0.5, 0.4, 2, 0, True, size=32), v2.RandomHorizontalFlip()]
    loader = ResidentLoader(source, 10, pipeline=pipeline, seed=1)
    first, again = ([batch.images for _, batch in loader.epoch(0)] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and len(first) == 3
    resumed = [batch.images for _, batch in loader.epoch(0, start_step=2)]
    assert torch.equal(resumed[0], first[2])
    other = [batch.images for _, batch in loader.epoch(1)]
    assert not torch.equal(torch.cat(other).sum((1, 2, 3)).sort()[0], torch.cat(first).sum((1, 2, 3)).sort()[0])


@pytest.mark.parametrize(
    ("transform", "shape", "message"),
    [
        (v2.RandomResizedCrop(8, interpolation=v2.InterpolationMode.BICUBIC), (3, 9, 9), "interpolation='bicubic'"),
        (v2.RandomResizedCrop(8, antialias=False), (3, 9, 9), "antialias=False; use TorchLoader"),
        (CropMix(size=8, post_aug=v2.RandomHorizontalFlip()), (3, 9, 9), "put the transforms after it into the pipe"),
        (CropMix(size=8, inter_aug=True), (1, 9, 9), "colour images; these have 1"),
    ],
)
def test_what_it_cannot_do_is_refused(transform, shape, message):
    with pytest.raises(UserError, match=message):
        batched([transform], shape)


class Count(TorchDispatchMode):
    """Count the tensor operations that run."""

    operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operations += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("operation", [0, 1])
def test_no_transform_goes_image_by_image(operation):
    images = photographs(16, 16)
    counts = []
    for size in (20, 40):
        stages = batched([v2.RandomResizedCrop(16), CropMix(operation=operation, size=16, number=3)], (3, 16, 16))
        with Count() as count:
            for stage in stages:
                stage.apply(images[:size], stage.draw(size, seeded()))
        counts.append(count.operations)
    assert counts[0] == counts[1]
