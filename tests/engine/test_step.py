"""One optimizer step: accumulated, clipped, in mixed precision, and never with a loss that is no number."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openmix.data import Batch
from openmix.engine.settings import OptimWrapper
from openmix.engine.step import NonFiniteError, TrainStep
from openmix.errors import UserError
from openmix.tasks import StepContext, Task

CPU = torch.device("cpu")
SGD = {"type": "SGD", "lr": 0.5}


class Linear(Task):
    """A layer with a loss, which reports the dtype that it computed in and what the global generator gave."""

    def __init__(self, size: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(size, 3)

    def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        logits = self.layer(batch.images.flatten(1))
        loss = F.cross_entropy(logits.float(), batch.labels)
        bits = torch.tensor(logits.dtype.itemsize * 8)
        return {"loss": loss, "bits": bits, "drawn": torch.rand(()), "mean": batch.images.mean()}


def batch(number: int, size: int = 8) -> tuple[StepContext, Batch]:
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(size, 1, 2, 3, generator=generator)
    labels = torch.randint(3, (size,), generator=generator)
    return StepContext(0, 0, 4, number, 0.0), Batch((images,), labels, torch.arange(size))


def step_of(task: Task, **settings: Any) -> TrainStep:
    optimizer = torch.optim.SGD(task.parameters(), lr=0.5)
    return TrainStep(task, optimizer, OptimWrapper(SGD, **settings), CPU)


def by_hand(task: Task, batches: list[Batch], max_norm: float | None = None) -> list[Tensor]:
    """The parameters after a step down the gradient of the mean loss, computed in one piece."""
    images = torch.cat([b.images for b in batches]).flatten(1)
    loss = F.cross_entropy(task.layer(images), torch.cat([b.labels for b in batches]))
    gradient = torch.autograd.grad(loss, list(task.parameters()))
    norm = torch.sqrt(sum((g**2).sum() for g in gradient))
    scale = 1.0 if max_norm is None else min(1.0, max_norm / float(norm))
    return [p - 0.5 * scale * g for p, g in zip(task.parameters(), gradient, strict=True)]


def test_a_group_that_is_added_later():
    """Its gradients are looked at and dropped like the others'."""
    task, late = Linear(), nn.Parameter(torch.zeros(3))
    step = step_of(task)
    step([batch(0)])
    step.optimizer.add_param_group({"params": [late]})
    original = task.forward
    task.forward = lambda *args: {**(out := original(*args)), "loss": out["loss"] + late.sum()}
    for _ in range(4):
        step([batch(0)])
    assert torch.equal(late, torch.full((3,), -2.0))
    task.forward = lambda *args: {**(out := original(*args)), "loss": out["loss"] + (late + 2).sqrt().sum()}
    with pytest.raises(NonFiniteError):
        step([batch(0)])


def test_after_a_step_that_was_no_number_others_go_on():
    task = Linear()
    step, (context, good) = step_of(task), batch(0)
    with pytest.raises(NonFiniteError):
        step([(context, Batch((good.images / 0,), good.labels, good.index))])
    before = task.layer.weight.clone()
    step([(context, good)])
    assert task.layer.weight.isfinite().all() and not torch.equal(task.layer.weight, before)


@pytest.mark.parametrize("bad", [False, True])
def test_sparse_and_complex_gradients_are_looked_at(bad):
    class Odd(Task):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.phase = (
                nn.Embedding(5, 2, sparse=True),
                nn.Parameter(torch.zeros(2, dtype=torch.complex64)),
            )

        def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
            scale = float("inf") if bad else 1.0
            return {"loss": self.table(batch.labels).sum() + torch.view_as_real(self.phase).sum() * scale}

    task = Odd()
    step = TrainStep(task, torch.optim.SGD(task.parameters(), lr=0.5), OptimWrapper(SGD), CPU)
    if bad:
        with pytest.raises(NonFiniteError):
            step([batch(0)])
    else:
        step([batch(0)])
        assert torch.equal(task.phase.detach(), torch.full((2,), -0.5 - 0.5j))


def test_what_only_watches_is_clipped_by_itself():
    """A probe's gradient, however large, must not shorten the step of the network that it watches."""

    class Watched(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.probe = nn.Linear(3, 3)
            self.weight = 1.0

        def forward(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
            report = super().forward(batch, context)
            logits = self.probe(self.layer(batch.images.flatten(1)).detach())
            return {**report, "loss": report["loss"] + self.weight * F.cross_entropy(logits, batch.labels)}

    ends = []
    for weight in (0.0, 1.0, 1000.0):
        task = Watched()
        task.weight = weight
        groups = [{"params": task.layer.parameters()}, {"params": task.probe.parameters(), "name": "probe"}]
        step = TrainStep(task, torch.optim.SGD(groups, lr=0.5), OptimWrapper(SGD, clip_grad={"max_norm": 0.01}), CPU)
        begins = task.probe.weight.detach().clone()
        step([batch(0)])
        moved = torch.stack([(p - q).norm() for p, q in zip([task.probe.weight], [begins], strict=True)]).norm()
        assert moved <= 0.5 * 0.01 * 1.0001
        ends.append(task.layer.weight.detach().clone())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("max_norm", [None, 0.01, 100.0])
def test_accumulation_and_clipping_equal_one_large_batch(count, max_norm):
    task = Linear()
    micro_batches = [batch(i) for i in range(count)]
    expected = by_hand(copy.deepcopy(task), [b for _, b in micro_batches], max_norm)
    clip = None if max_norm is None else {"max_norm": max_norm}
    step_of(task, accumulative_counts=count, clip_grad=clip)(micro_batches)
    for parameter, value in zip(task.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value.detach(), rtol=1e-5, atol=1e-6)


def test_report_is_the_mean_over_micro_batches():
    micro_batches = [batch(i) for i in range(3)]
    step = step_of(Linear(), accumulative_counts=3)
    report = dict(zip(*(lambda r: (step.names, r))(step(micro_batches)), strict=True))
    assert report["mean"] == pytest.approx(sum(float(b.images.mean()) for _, b in micro_batches) / 3)
    losses = [F.cross_entropy(Linear().layer(b.images.flatten(1)), b.labels).item() for _, b in micro_batches]
    assert report["loss"] == pytest.approx(sum(losses) / 3)
    assert not report["loss"].requires_grad


def test_global_generator_is_keyed_by_step_and_shard():
    """What a network draws, dropout say, is a function of the place in the run."""

    def drawn(number: int) -> float:
        step = step_of(Linear())
        return float(step([batch(number)])[2])

    first = drawn(0)
    torch.manual_seed(5)
    assert drawn(0) == first
    assert drawn(1) != first


def test_bf16_computes_in_it_and_keeps_float32_weights():
    task = Linear()
    plain = copy.deepcopy(task)
    report = step_of(task, amp="bf16")([batch(0)])
    assert report[1] == 16
    assert step_of(plain)([batch(0)])[1] == 32
    for low, full in zip(task.parameters(), plain.parameters(), strict=True):
        assert low.dtype == torch.float32
        torch.testing.assert_close(low, full, rtol=0.05, atol=0.01)
        assert not torch.equal(low, full)


def test_fp16_on_a_cpu_is_refused():
    with pytest.raises(UserError, match="fp16 needs a GPU; on a CPU use --amp bf16"):
        step_of(Linear(), amp="fp16")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_a_loss_that_is_no_number_leaves_the_weights_alone(bad, which):
    task = Linear()
    before = [p.detach().clone() for p in task.parameters()]
    micro_batches = [batch(0), batch(1)]
    micro_batches[which][1].images[0, 0, 0, 0] = bad
    with pytest.raises(NonFiniteError, match=rf"the loss is nan in epoch 1, step 5, shard {which}; "):
        step_of(task, accumulative_counts=2)(micro_batches)
    assert all(torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True))


class TestLossScale:
    """As fp16 has it on a GPU; the scaler itself works on a CPU, too."""

    def scaled(self, task: Task, scale: float, **settings: Any) -> TrainStep:
        step = step_of(task, **settings)
        step.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        return step

    @pytest.mark.parametrize("settings", [{}, {"clip_grad": {"max_norm": 1.0}}])
    def test_a_gradient_that_overflows_skips_the_step(self, settings):
        task = Linear()
        before = copy.deepcopy(task.state_dict())
        step = self.scaled(task, 3e38, **settings)
        step.scaler.scale(torch.tensor(1.0))
        micro = batch(0)
        micro[1].images.mul_(1e6)
        step([micro])
        assert all(torch.equal(before[k], v) for k, v in task.state_dict().items())
        assert step.scaler.get_scale() == pytest.approx(1.5e38)

    def test_a_loss_that_is_no_number_stops(self):
        step, micro = self.scaled(Linear(), 1.0), batch(0)
        micro[1].images[0, 0, 0, 0] = float("nan")
        with pytest.raises(NonFiniteError, match="the loss is nan"):
            step([micro])

    def test_a_step_is_that_of_without(self):
        tasks = Linear(), Linear()
        self.scaled(tasks[0], 2.0**10)([batch(0)])
        step_of(tasks[1])([batch(0)])
        assert all(torch.equal(a, b) for a, b in zip(*(t.parameters() for t in tasks), strict=True))

    @pytest.mark.parametrize(("scale", "ends"), [(2e-4, False), (5e-5, True)])
    def test_no_scale_is_small_enough(self, scale, ends):
        step = self.scaled(Linear(), scale)
        step.scaler.scale(torch.tensor(1.0))  # it begins when first used
        if ends:
            with pytest.raises(NonFiniteError, match="overflows in fp16 at any loss scale"):
                step.check_scale()
        else:
            step.check_scale()


def test_a_gradient_that_is_no_number_leaves_the_weights_alone():
    for bad in (float("nan"), float("inf")):
        task = Linear()
        before = [p.detach().clone() for p in task.parameters()]
        task.layer.weight.register_hook(lambda gradient, bad=bad: gradient * bad)
        with pytest.raises(NonFiniteError, match=r"the gradient is not finite in epoch 1, step 5, though this"):
            step_of(task)([batch(0)])
        assert all(torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_loss_that_is_no_number_counts_where_its_gradient_is_one(value):
    """As one to which a constant that overflowed was added."""
    task = Linear()
    original = task.forward
    task.forward = lambda *args: {**(out := original(*args)), "loss": out["loss"] + torch.tensor(value)}
    before = task.layer.weight.detach().clone()
    with pytest.raises(NonFiniteError, match="the loss is"):
        step_of(task)([batch(0)])
    assert torch.equal(task.layer.weight, before)
