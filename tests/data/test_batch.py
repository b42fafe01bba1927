import torch

from openmix.data import Batch


def test_the_first_view_is_the_images_and_views_can_be_replaced():
    first, second = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    batch = Batch((first, second), torch.tensor([0, 1]), torch.tensor([5, 6]))
    assert batch.images is first and len(batch) == 2
    other = batch.with_views(second)
    assert other.views == (second,) and other.labels is batch.labels and other.index is batch.index
    assert batch.views == (first, second)


def test_everything_moves_to_the_device():
    batch = Batch((torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)), torch.tensor([0, 1]), torch.tensor([5, 6]))
    moved = batch.to("meta")
    assert {t.device.type for t in (*moved.views, moved.labels, moved.index)} == {"meta"} and len(moved.views) == 2
