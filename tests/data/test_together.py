"""What is done to a batch at once gives the very pixels that torchvision's transforms give image by image."""

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import ArraySource, Synthetic, TorchLoader
from openmix.data.loaders.together import together
from openmix.data.transforms import Cutout, Views
from openmix.errors import UserError

SHAPE = (3, 9, 12)
SOURCE = Synthetic(5, SHAPE, 60)
FLIP = v2.RandomHorizontalFlip


class OneByOne:
    """The same images, which a loader has to ask for one after the other."""

    classes, num_classes = SOURCE.classes, SOURCE.num_classes

    def __len__(self):
        return len(SOURCE)

    def __getitem__(self, index):
        return SOURCE[index]

    def take(self, count):
        return self


TOGETHER = [
    [v2.RandomCrop(SHAPE[1:], 2)],
    [v2.RandomCrop((9, 7))],
    [v2.RandomCrop((7, 12), (0, 1))],
    [v2.RandomCrop(SHAPE[1:])],
    [v2.RandomCrop((8, 10), (1, 2, 3, 0), padding_mode="reflect", fill=3), FLIP()],
    [FLIP(0.2), v2.RandomCrop(8, 1, fill=(1, 2, 3)), Cutout(4, (9, 8, 7)), FLIP()],
    [FLIP(0.0)],
    [FLIP(1.0), Cutout(30)],
]


@pytest.mark.parametrize("pipeline", TOGETHER)
def test_it_equals_the_transforms_image_by_image(pipeline):
    assert together(pipeline, SHAPE) is not None
    loaders = [TorchLoader(source, 20, pipeline=pipeline, seed=3) for source in (SOURCE, OneByOne())]
    at_once, alone = ([batch for _, batch in loader.epoch(2)] for loader in loaders)
    assert len(at_once) == 3
    for one, other in zip(at_once, alone, strict=True):
        assert torch.equal(one.images, other.images) and one.images.is_contiguous()
        assert torch.equal(one.labels, other.labels) and torch.equal(one.index, other.index)


class Own(v2.RandomHorizontalFlip):
    """Somebody's own transform, which may do what it likes."""


APART = [
    [],
    [Own()],
    [FLIP(), v2.ColorJitter(0.4)],
    [v2.ToImage(), FLIP()],
    [v2.Compose([FLIP()])],
    [v2.RandomCrop(16, 2, pad_if_needed=True)],
    [FLIP(), Views([[FLIP()], []])],
    [lambda image: image],
]


@pytest.mark.parametrize("pipeline", APART)
def test_all_else_goes_image_by_image(pipeline):
    assert together(pipeline, SHAPE) is None


@pytest.mark.parametrize(
    ("pipeline", "error", "words"),
    [([v2.RandomCrop(40)], ValueError, "Required crop size"), ([Cutout(3, (1, 2))], UserError, "2 fills for images")],
)
def test_what_cannot_be_done_is_said_when_it_is_asked_for(pipeline, error, words):
    loader = TorchLoader(SOURCE, 4, pipeline=pipeline)
    with pytest.raises(error, match=words):
        next(loader.evaluate())


def test_the_set_is_left_alone():
    images = SOURCE.images.clone()
    loader = TorchLoader(ArraySource(images, SOURCE.labels, SOURCE.classes), 60, pipeline=[FLIP(1.0)])
    next(loader.evaluate()).images.zero_()
    assert torch.equal(images, SOURCE.images)
