import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from openmix.data import Digits
from openmix.errors import UserError


@pytest.fixture(scope="module")
def originals():
    bunch = load_digits()
    return {bytes(image.astype(np.uint8)): int(label) for image, label in zip(bunch.images, bunch.target, strict=True)}


def as_levels(source):
    """The images of a set of size 8 as bytes of levels 0..16."""
    return [bytes((image.double() * 16 / 255).round().to(torch.uint8).numpy()) for image, _ in source]


def test_splits_are_disjoint_real_digits_with_their_labels(originals):
    splits = [Digits("train", 8, labels_per_class=60), Digits("val", 8), Digits("test", 8)]
    assert [len(split) for split in splits] == [600, 500, 697]
    seen = [levels for split in splits for levels in as_levels(split)]
    assert len(seen) == 1797 and set(seen) == set(originals)
    assert len(set(seen)) == len(originals), "load_digits repeats an image: compare multisets instead"
    labels = [label for split in splits for _, label in split]
    assert [originals[levels] for levels in seen] == labels


@pytest.mark.parametrize("count", [1, 10, 37, 60])
def test_training_sets_are_balanced_and_nested(count):
    source, full = Digits("train", 8, count), Digits("train", 8, 60)
    assert source.labels.bincount().tolist() == [count] * 10
    assert torch.equal(source.images, full.images[: 10 * count])


def test_validation_and_test_do_not_depend_on_labels_per_class():
    for split in ("val", "test"):
        assert torch.equal(Digits(split, 8, 3).images, Digits(split, 8, 60).images)
    assert Digits("val").labels.bincount().tolist() == [50] * 10
    assert Digits("test").labels.bincount().tolist() == [68, 72, 67, 73, 71, 72, 71, 69, 64, 70]


def test_the_first_images_of_each_split_are_balanced():
    for split in ("train", "val", "test"):
        assert Digits(split).take(20).labels.tolist() == [*range(10)] * 2


def test_the_split_never_changes():
    """A checksum over pixels and their order, as written when the split was published."""
    checksums = {}
    for split in ("train", "val", "test"):
        pixels = Digits(split, 8, labels_per_class=60).images.long().flatten(1)
        rows = (pixels * torch.arange(64)).sum(1)
        checksums[split] = int((rows * torch.arange(len(rows))).sum()) % 1_000_003
    assert checksums == {"train": 164321, "val": 855200, "test": 955329}


@pytest.mark.parametrize("size", [16, 20])
def test_enlarging_is_bilinear_as_pillow_does_it(size):
    small, large = Digits("val", 8), Digits("val", size)
    assert large.images.shape == (500, 1, size, size) and large.image_shape == (1, size, size)
    for original, image in zip(small.images[:50, 0], large.images[:50, 0], strict=True):
        levels = Image.fromarray(original.float().numpy())
        expected = np.asarray(levels.resize((size, size), Image.Resampling.BILINEAR))
        assert np.abs(image.numpy() - expected).max() <= 1  # one rounding against two


def test_grey_levels_fill_the_range():
    assert Digits("train", 8).images.unique().tolist() == [round(level * 255 / 16) for level in range(17)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, "splits train, val and test, not 'valid'"),
        ({"size": 7}, "size must be at least 8, not 7"),
        ({"labels_per_class": 0}, "1 to 60 labels_per_class, not 0"),
        ({"labels_per_class": 61}, "1 to 60 labels_per_class, not 61"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        Digits(**options)
