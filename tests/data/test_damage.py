"""Damaged images: who takes whose place, what is told, and when it is too much."""

import pickle

import pytest
import torch
from torchvision.transforms import v2

from openmix.data import Batch, TorchLoader
from openmix.data.loaders.damage import DamageLimit, intact
from openmix.errors import DamagedImageError, UserError

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


class Damaged:
    """Image i is of colour i and of class i // 4; some cannot be read."""

    num_classes, classes = 5, tuple("abcde")

    def __init__(self, *damaged: int) -> None:
        self.damaged = damaged

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index in self.damaged:
            raise DamagedImageError(f"{index}.jpg", "is damaged")
        return torch.full((3, 4, 4), index, dtype=torch.uint8), index // 4


def naive(index: int, damaged: tuple[int, ...]) -> int:
    """Return who stands in for an image: written from the rule, 'the next one that is not damaged, in a circle'."""
    while index in damaged:
        index = (index + 1) % 20
    return index


@pytest.mark.parametrize("damaged", [(), (0,), (19,), (18, 19, 0), (3, 4, 5, 11)])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_next_image_takes_the_place_with_its_own_label(damaged, workers):
    loader = TorchLoader(Damaged(*damaged), 5, pipeline=[v2.Identity()], num_workers=workers)
    for batches in ([b for _, b in loader.epoch(1)], list(loader.evaluate())):
        index = torch.cat([batch.index for batch in batches]).tolist()
        assert sorted(index) == [*range(20)]
        expected = [naive(i, damaged) for i in index]
        assert torch.cat([b.images[:, 0, 0, 0] for b in batches]).tolist() == expected
        assert torch.cat([b.labels for b in batches]).tolist() == [i // 4 for i in expected]
        told = {error.name for batch in batches for error in batch.damaged}
        assert told == {f"{i}.jpg" for i in damaged}
    loader.close()


def test_the_replacement_has_the_draws_of_the_place():
    """So that a batch with a damaged image differs from one without in that image alone."""
    pipeline = [v2.RandomCrop(4, padding=3, fill=77)]
    whole, holed = (TorchLoader(Damaged(*d), 20, pipeline=pipeline) for d in ((), (7,)))
    (_, one), (_, other) = next(whole.epoch(0)), next(holed.epoch(0))
    place = one.index.tolist().index(7)
    assert torch.equal(one.images == 77, other.images == 77)  # the same windows
    unlike = (one.images != other.images).flatten(1).any(1)
    assert unlike.nonzero().flatten().tolist() == [place]


def test_too_many_different_ones_end_it():
    loader = TorchLoader(Damaged(2, 9, 13), 5, max_damaged=2)
    with pytest.raises(UserError, match=r"13\.jpg is damaged; that makes 3 damaged images, more than max_damaged=2"):
        list(loader.evaluate())


def test_the_same_ones_again_and_again_do_not():
    loader = TorchLoader(Damaged(2, 9), 5, max_damaged=2)
    for _ in range(3):
        assert sum(len(batch.damaged) for batch in loader.evaluate()) == 2


def test_nothing_but_damage_is_told():
    loader = TorchLoader(Damaged(*range(20)), 5)
    with pytest.raises(UserError, match=r"11 images in a row cannot be read; the first: 0\.jpg is damaged"):
        list(loader.evaluate())


def test_a_set_of_one_damaged_image():
    def read(index):
        raise DamagedImageError(str(index), "is empty")

    with pytest.raises(UserError, match="1 images in a row"):
        intact(read, 0, 1, [])


def test_a_limit_below_nothing():
    with pytest.raises(UserError, match="max_damaged must be at least 0, not -1"):
        DamageLimit(-1)


def test_the_error_goes_through_a_pipe():
    error = pickle.loads(pickle.dumps(DamagedImageError("a.jpg", "is empty")))
    assert (error.name, error.reason, str(error), error.exit_code) == ("a.jpg", "is empty", "a.jpg is empty", 2)


def test_batches_keep_it_wherever_they_go():
    zero = torch.zeros(1, 3, 2, 2)
    batch = Batch((zero,), torch.zeros(1), torch.zeros(1), None, (DamagedImageError("a", "b"),))
    assert batch.to("meta").damaged == batch.with_views(zero).damaged == batch.damaged
