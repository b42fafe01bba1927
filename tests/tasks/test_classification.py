"""Plain classification and the protocol that every task keeps."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from openmix.data import Batch
from openmix.models import ClsHead, ConvNet, GlobalAveragePooling
from openmix.tasks import Classification, MixContext, StepContext, Task


@pytest.fixture
def task() -> Classification:
    torch.manual_seed(0)
    return Classification(ConvNet([4, 6]), ClsHead(5, 6, label_smoothing=0.1))


def test_loss_and_accuracy(task):
    images, labels = torch.rand(8, 3, 10, 12), torch.arange(8) % 5
    outputs = task(Batch((images,), labels, torch.arange(8)), StepContext(0, 0, 0, 0, 0.0))
    logits = task.head.fc(task.backbone(images)[-1].mean((2, 3)))
    torch.testing.assert_close(outputs["loss"], F.cross_entropy(logits, labels, label_smoothing=0.1))
    hits = sum(int(row.argmax()) == int(y) for row, y in zip(logits, labels, strict=True))
    assert outputs["top1"].item() == pytest.approx(100 * hits / 8)
    assert not outputs["top1"].requires_grad


def test_neck_of_ones_own():
    class Largest(nn.Module):
        def forward(self, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
            return features[-1].amax((2, 3))

    backbone = ConvNet([4])
    images = torch.rand(2, 3, 8, 8)
    task = Classification(backbone, ClsHead(5, 4), neck=Largest()).eval()
    torch.testing.assert_close(task.predict(images), task.head.fc(backbone(images)[-1].flatten(2).max(2).values))
    assert isinstance(Classification(backbone, ClsHead(5, 4)).neck, GlobalAveragePooling)


def test_protocol(task):
    assert task.num_classes == 5
    (group,) = task.parameter_groups()
    assert [id(p) for p in group["params"]] == [id(p) for p in task.parameters()]
    task.backbone.requires_grad_(False)
    (group,) = task.parameter_groups()
    assert [id(p) for p in group["params"]] == [id(p) for p in task.head.parameters()]
    assert task.after_step(StepContext(0, 0, 0, 0, 0.0)) is None
    with pytest.raises(NotImplementedError):
        Task().predict(torch.zeros(1))


def test_draws_are_a_function_of_seed_step_shard_and_stream():
    """Not of the epoch, which the step determines, nor of the progress, which a longer run changes."""

    def draw(stream: str = "mix", **place: float) -> float:
        place = {"seed": 0, "epoch": 0, "step": 0, "shard": 0, "progress": 0.0, **place}
        return float(torch.rand((), generator=StepContext(**place).generator(stream)))

    first = draw()
    assert draw(epoch=3, progress=0.5) == first
    others = [draw(step=1), draw(shard=1), draw(seed=1), draw("other")]
    assert len({first, *others}) == 5
    seeds = {StepContext(0, 0, step, shard, 0.0).model_seed() for step in range(3) for shard in range(3)}
    assert len(seeds) == 9


def test_needs_are_computed_once_and_only_when_asked_for():
    calls = []

    def provider() -> torch.Tensor:
        calls.append("features")
        return torch.ones(2)

    context = MixContext({"features": provider, "saliency": lambda: pytest.fail("nobody asked")})
    assert context.serve(()) == {}
    assert calls == []
    assert context.serve(["features"])["features"] is context.serve(("features",))["features"]
    assert calls == ["features"]
