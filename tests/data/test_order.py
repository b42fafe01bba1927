import pytest
import torch

from openmix.data.order import Shards, epoch_order, eval_batches, steps_per_epoch, train_batches
from openmix.errors import UserError


def of_all_ranks(world_size, accumulate, start_step=0):
    """``{(step, shard): indices}`` gathered from every rank."""
    found = {}
    for rank in range(world_size):
        for step, shard, index in train_batches(3, 5, 103, 4, Shards(rank, world_size, accumulate), start_step):
            assert (step, shard) not in found
            found[step, shard] = index.tolist()
    return found


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 1), (2, 1), (1, 2), (3, 2), (2, 3)])
def test_an_epoch_visits_no_image_twice_and_drops_less_than_a_step(world_size, accumulate):
    batches = of_all_ranks(world_size, accumulate)
    visited = [i for index in batches.values() for i in index]
    per_step = 4 * world_size * accumulate
    assert len(set(visited)) == len(visited) == 103 // per_step * per_step
    assert all(len(index) == 4 for index in batches.values())


def test_processes_and_accumulation_see_the_same_micro_batches():
    assert of_all_ranks(6, 1) == of_all_ranks(1, 6) == of_all_ranks(2, 3) == of_all_ranks(3, 2)


def test_a_rank_computes_its_shards_in_order():
    assert [list(Shards(rank, 2, 3).own()) for rank in range(2)] == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize("start_step", [0, 1, 7, 12, 13])
def test_starting_within_an_epoch_leaves_out_just_what_is_before(start_step):
    whole = of_all_ranks(2, 1)
    assert of_all_ranks(2, 1, start_step) == {key: index for key, index in whole.items() if key[0] >= start_step}


def test_order_depends_on_seed_and_epoch_alone():
    base = epoch_order(0, 0, 50)
    assert base.sort().values.tolist() == [*range(50)]
    assert torch.equal(base, epoch_order(0, 0, 50))
    assert not torch.equal(base, epoch_order(0, 1, 50)) and not torch.equal(base, epoch_order(1, 0, 50))


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("num_samples", [1, 10, 100, 103])
def test_evaluation_covers_every_image_once_in_the_same_batches(world_size, num_samples):
    ranks = [list(eval_batches(num_samples, 10, Shards(rank, world_size))) for rank in range(world_size)]
    alone = [index.tolist() for index in eval_batches(num_samples, 10, Shards())]
    assert sorted(index.tolist() for batches in ranks for index in batches) == alone
    assert [i for index in alone for i in index] == [*range(num_samples)]


def test_a_set_smaller_than_a_step_is_refused_by_name_of_what_to_change():
    assert steps_per_epoch(24, 4, Shards(0, 2, 3)) == 1
    with pytest.raises(UserError, match=r"23 images, .* batch_size 4 x 2 processes x 3 accumulated; lower batch_size"):
        steps_per_epoch(23, 4, Shards(0, 2, 3))
