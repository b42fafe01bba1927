import pytest
import torch

from openmix.data import SOURCES, ArraySource, Source, Synthetic
from openmix.errors import UserError

IMAGES = torch.arange(4 * 3 * 2 * 5, dtype=torch.uint8).view(4, 3, 2, 5)
LABELS = torch.tensor([2, 0, 1, 1])


def test_items_are_the_images_and_labels_given():
    source = ArraySource(IMAGES, LABELS, ["a", "b", "c"])
    image, label = source[2]
    assert torch.equal(image, IMAGES[2]) and label == 1 and type(label) is int
    assert (len(source), source.num_classes, source.classes) == (4, 3, ("a", "b", "c"))
    assert source.image_shape == (3, 2, 5)
    assert isinstance(source, Source)


def test_take_is_the_first_images_and_keeps_the_classes():
    source = ArraySource(IMAGES, LABELS, ["a", "b", "c"])
    taken = source.take(2)
    assert len(taken) == 2 and torch.equal(taken.labels, LABELS[:2]) and taken.classes == source.classes
    assert taken.images.data_ptr() == IMAGES.data_ptr()
    assert len(source.take(100)) == 4


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.float(), LABELS, "images must be uint8"),
        (IMAGES[0], LABELS, r"\(N, C, H, W\)"),
        (IMAGES, LABELS.int(), "labels must be int64"),
        (IMAGES, LABELS[:3], r"\(4,\), one for each image"),
        (IMAGES, LABELS + 1, r"0\.\.2 for 3 classes; they span 1\.\.3"),
        (IMAGES, LABELS - 1, r"span -1\.\.1"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, message):
    with pytest.raises(UserError, match=message):
        ArraySource(images, labels, ["a", "b", "c"])


def test_synthetic_images_are_the_same_every_time_and_fill_the_range():
    first, second = Synthetic(7, (3, 9, 5), 50), Synthetic(7, (3, 9, 5), 50)
    assert torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
    assert first.images.shape == (50, 3, 9, 5) and first.labels.bincount().tolist() == [8, 7, 7, 7, 7, 7, 7]
    assert first.images.unique().numel() == 256
    assert not torch.equal(first.images[0], first.images[1])


@pytest.mark.parametrize("arguments", [(0, (3, 8, 8), 5), (2, (3, 8), 5), (2, (3, 0, 8), 5), (2, (3, 8, 8), 0)])
def test_synthetic_refuses_sizes_below_one(arguments):
    with pytest.raises(UserError, match="Synthetic takes num_classes >= 1"):
        Synthetic(*arguments)


@pytest.mark.parametrize(
    ("name", "options", "num_classes", "shape"),
    [
        ("CIFAR10", {"data_root": "nowhere", "split": "test"}, 10, (3, 32, 32)),
        ("CIFAR100", {}, 100, (3, 32, 32)),
        ("Digits", {"split": "val"}, 10, (1, 16, 16)),
        ("Digits", {"size": 24}, 10, (1, 24, 24)),
        ("Synthetic", {"num_classes": 3, "image_shape": [3, 6, 4], "length": 9}, 3, (3, 6, 4)),
    ],
)
def test_a_dry_run_can_stand_in_for_any_source_without_its_data(name, options, num_classes, shape):
    stand_in = Synthetic.instead_of(SOURCES[name], options, length=12)
    assert (len(stand_in), stand_in.num_classes, stand_in.image_shape) == (12, num_classes, shape)
