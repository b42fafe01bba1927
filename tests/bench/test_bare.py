"""The bare loop does the work that openmix does: the same losses, step for step, on the same batches and draws."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from timm.data import Mixup
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.bench.bare import BareLoop, Batches, hand_written, mixup_draws
from openmix.bench.recipe import Recipe
from openmix.bench.timm_loop import TimmLoop
from openmix.bench.torchvision_loop import TorchvisionLoop, accuracy
from openmix.data.sources import Synthetic
from openmix.mixers.mixup import plan_mixup
from openmix.models import ConvNet, ResNet, ResNet_CIFAR
from openmix.ops.random import generator_for

CPU = torch.device("cpu")
STEPS = 12  # over the end of the first epoch


class Losses(Hook):
    """Keeps what a run's task reports as its loss."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.values.append(float(outputs["loss"]))


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(lambda: ConvNet([4, 8]), Synthetic(10, (3, 8, 8), 80), 10, CPU, padding=1, flip=True)


def replayed(recipe: Recipe) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return the batches that a run of openmix sees, one a call, normalised by division."""

    def steps() -> Iterator[tuple[Tensor, Tensor]]:
        loader = recipe.loader()
        for epoch in range(2):
            for _, batch in loader.epoch(epoch):
                yield (batch.images / 255 - 0.5) / 0.25, batch.labels

    batches = steps()
    return lambda: next(batches)


def losses_of_openmix(recipe: Recipe) -> list[float]:
    hook = Losses()
    recipe.train([hook], STEPS)
    return hook.values


@pytest.mark.parametrize("loop", [BareLoop, TimmLoop, TorchvisionLoop])
@pytest.mark.parametrize("bf16", [False, True])
def test_unmixed_losses_are_those_of_openmix(recipe: Recipe, loop: Any, bf16: bool) -> None:
    recipe = replace(recipe, bf16=bf16)
    net, optimizer = recipe.network()
    step = loop(net, replayed(recipe), optimizer, bf16=bf16)
    rival = [float(step()) for _ in range(STEPS)]
    assert rival == pytest.approx(losses_of_openmix(recipe), abs=2e-3 if bf16 else 1e-6)
    assert rival[-1] != rival[0]


def test_mixed_losses_are_those_of_openmix_with_its_draws(recipe: Recipe) -> None:
    recipe = replace(recipe, alpha=1.0)

    def draws() -> Iterator[tuple[float, Tensor]]:
        for step in range(STEPS):
            generator = generator_for(0, "mix", step, 0)
            recipe.task().policy.draw(generator, 0)  # type: ignore[union-attr]  which method it is may be a draw as well
            plan = plan_mixup(recipe.batch_size, generator=generator, alpha=1.0)
            yield float(plan.lam[0]), plan.partner

    drawn = draws()
    net, optimizer = recipe.network()
    step = BareLoop(net, replayed(recipe), optimizer, lambda: next(drawn))
    assert [float(step()) for _ in range(STEPS)] == pytest.approx(losses_of_openmix(recipe), abs=1e-6)


def test_timm_mixes_by_soft_labels() -> None:
    images, labels = torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 3])
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    mixup = Mixup(mixup_alpha=1.0, label_smoothing=0.0, num_classes=5)
    mixup._params_per_batch = lambda: (0.25, False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    logits = net(0.25 * images + 0.75 * images.flip(0))
    expected = (0.25 * F.cross_entropy(logits, labels) + 0.75 * F.cross_entropy(logits, labels.flip(0))).item()
    loss = TimmLoop(net, lambda: (images.clone(), labels), optimizer, mixup)()
    assert loss == pytest.approx(expected, abs=1e-6)


def test_every_rival_trains_with_mixup(recipe: Recipe) -> None:
    for name, step in replace(recipe, alpha=1.0).rivals().items():
        before = [p.clone() for p in step.net.parameters()]
        assert 0 < float(step()) < 10, name
        assert not all(torch.equal(a, b) for a, b in zip(before, step.net.parameters(), strict=True)), name
        assert all(p.grad is None for p in step.net.parameters()) == (name == "timm")  # the others drop them later


@pytest.mark.parametrize("backbone", [ConvNet([4, 6]), ResNet_CIFAR(18), ResNet(50)])
def test_a_hand_written_network_computes_the_same_and_shares_no_weights(backbone: nn.Module) -> None:
    backbone, fc = backbone.eval(), nn.Linear(backbone.out_channels[-1], 5)  # type: ignore[index]
    net, images = hand_written(backbone, fc).eval(), torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net(images), fc(backbone(images)[-1].mean((2, 3))))
    own = {p.data_ptr() for p in net.parameters()}
    assert len(own) == len([*backbone.parameters(), *fc.parameters()])
    assert own.isdisjoint(p.data_ptr() for p in backbone.parameters())


def test_an_epoch_has_every_image_once_in_an_order_of_its_own() -> None:
    images = torch.arange(12, dtype=torch.uint8).reshape(12, 1, 1, 1).expand(12, 1, 2, 2).contiguous()
    batches = Batches(images, torch.arange(12), 5, [0.0], [1.0])
    epochs = [torch.cat([batches()[1] for _ in range(2)]) for _ in range(3)]
    assert all(len(epoch.unique()) == 10 for epoch in epochs)
    assert not torch.equal(epochs[0], epochs[1])


def test_batches_are_crops_and_mirror_images_of_the_padded_set_normalised() -> None:
    images = torch.randint(256, (6, 3, 5, 4), dtype=torch.uint8)
    batches = Batches(images, torch.arange(6), 6, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], padding=1, flip=True)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1)
    seen = set()
    for _ in range(60):
        for x, label in zip(*batches(), strict=True):
            padded = F.pad(images[label], [1] * 4)
            found = [
                (flip, y, x0)
                for flip in (False, True)
                for y in range(3)
                for x0 in range(3)
                if torch.allclose(
                    x, ((padded.flip(2) if flip else padded)[:, y : y + 5, x0 : x0 + 4] / 255 - mean) / std, atol=1e-5
                )
            ]
            assert len(found) == 1
            seen.update(found)
    assert len(seen) == 18  # all places, mirrored or not


@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_have_the_memory_format_that_is_asked_for(channels_last: bool) -> None:
    batches = Batches(
        torch.zeros(4, 3, 6, 6, dtype=torch.uint8), torch.arange(4), 2, [0.5], [0.5], padding=2, flip=True,
        channels_last=channels_last,
    )  # fmt: skip
    images, _ = batches()
    assert images.is_contiguous(memory_format=torch.channels_last) is channels_last
    assert images.is_contiguous() is not channels_last


def test_mixup_draws() -> None:
    draw = mixup_draws(0.5, 6, CPU)
    lams, partners = zip(*(draw() for _ in range(400)), strict=True)
    assert all(sorted(partner.tolist()) == list(range(6)) for partner in partners)
    assert sum(lams) / 400 == pytest.approx(0.5, abs=0.1)
    assert sum((lam - 0.5) ** 2 for lam in lams) / 400 == pytest.approx(1 / 8, abs=0.03)  # of Beta(1/2, 1/2)


def test_accuracy_counts_the_largest_soft_label() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0]])
    soft = torch.tensor([[0.4, 0.6, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert [float(a) for a in accuracy(logits, soft, (1, 2))] == [50.0, 100.0]


def test_both_sides_have_the_memory_format_that_is_asked_for(recipe: Recipe) -> None:
    recipe = replace(recipe, channels_last=True)
    net, _ = recipe.network()
    formats = [
        weights.is_contiguous(memory_format=torch.channels_last)
        for module in (net, recipe.train([], 1).task)
        for weights in module.parameters()
        if weights.ndim == 4
    ]
    assert len(formats) == 8 and all(formats)
