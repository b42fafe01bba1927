"""No mixing, in the shape of a mix."""

import torch

import openmix
from openmix.mixers import vanilla


def test_identity(make_batch):
    images, labels = make_batch()
    mixed = vanilla(images, labels)
    assert torch.equal(mixed.images, images)
    assert torch.equal(mixed.sources, torch.arange(5)[:, None].expand(5, 2))
    assert mixed.target.weights.tolist() == [[1.0, 0.0]] * 5
    assert torch.equal(mixed.target.labels, labels[:, None].expand(5, 2))
    assert mixed.masks.shape == (5, 2, 1, 1)
    assert torch.equal(mixed.masks[:, :, 0, 0], mixed.target.weights)


def test_the_target_is_one_hot_and_the_loss_plain_cross_entropy(make_batch):
    images, labels = make_batch()
    mixed = openmix.Vanilla()(images, labels)
    assert torch.equal(mixed.target.soft(10), torch.nn.functional.one_hot(labels, 10).float())
    logits = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    loss = openmix.mix_cross_entropy(logits, mixed.target)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, labels))


def test_nothing_is_drawn(make_batch):
    images, labels = make_batch()
    generator = torch.Generator().manual_seed(5)
    vanilla(images, labels, generator=generator)
    assert torch.equal(generator.get_state(), torch.Generator().manual_seed(5).get_state())
