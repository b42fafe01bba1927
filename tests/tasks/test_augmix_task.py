"""AugMix's training task against the authors' loss, and in a run."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from openmix.mixers.augmix import augmix
from openmix.models import ClsHead, ConvNet
from openmix.registry import TASKS
from openmix.tasks import AugMixClassification, Classification


def make_task(backbone=None, channels=8, **arguments):
    torch.manual_seed(0)
    head = ClsHead(num_classes=5, in_channels=channels)
    nn.init.normal_(head.fc.weight)
    return AugMixClassification(backbone or ConvNet((4, 8)), head, **arguments)


@pytest.mark.parametrize("arguments", [{}, {"jsd_weight": 3.0, "severity": 7, "width": 2, "all_ops": True}], ids=str)
def test_loss_is_the_authors(make_batch, at, arguments):
    task, batch = make_task(**arguments), make_batch(16)
    generator = at(step=3).generator("mix")
    hyper = {name: value for name, value in arguments.items() if name != "jsd_weight"}
    views = [augmix(batch.images, batch.labels, generator=generator, **hyper).images for _ in range(2)]
    assert not torch.equal(*views)
    # one forward of all three: what normalises by the batch sees them together
    logits = task.predict(torch.cat([batch.images, *views]))
    p = [part.softmax(1) for part in logits.split(16)]
    log_mean = torch.clamp(sum(p) / 3, 1e-7, 1).log()
    jsd = sum(F.kl_div(log_mean, q, reduction="batchmean") for q in p) / 3
    report = task(batch, at(step=3))
    assert set(report) == {"loss", "jsd", "top1"}
    torch.testing.assert_close(report["jsd"], jsd)
    expected = F.cross_entropy(logits[:16], batch.labels) + arguments.get("jsd_weight", 12.0) * jsd
    torch.testing.assert_close(report["loss"], expected)
    hits = (logits[:16].argmax(1) == batch.labels).float()
    assert report["top1"].item() == pytest.approx(100 * hits.mean().item()) and 0 < hits.sum() < 16
    assert report["jsd"] > 0.003, "the test could tell nothing"
    assert not report["jsd"].requires_grad and not report["top1"].requires_grad


def test_the_network_sees_clean_images_first(make_batch, at, raw):
    task, batch = make_task(raw, channels=3), make_batch(4)
    task(batch, at())
    (seen,) = raw.seen
    assert seen.shape == (12, *batch.images.shape[1:])
    assert torch.equal(seen[:4], batch.images)
    assert not torch.equal(seen[4:8], seen[8:])


def test_images_are_augmented_in_their_own_units(make_batch, at, raw):
    task, batch = make_task(raw, channels=3), make_batch(4)
    pixel_range = torch.tensor([[-2.0], [3.0]])
    task(batch, at())
    task(replace(batch.with_views(batch.images * 5 - 2), pixel_range=pixel_range), at())
    torch.testing.assert_close(raw.seen[1], raw.seen[0] * 5 - 2, rtol=0, atol=1e-4)


def test_gradients_reach_the_network_through_both_losses(make_batch, at):
    task, batch = make_task(), make_batch()
    report = task(batch, at())
    report["loss"].backward()
    both = task.backbone.layer1[0].weight.grad.clone()
    task.zero_grad()
    generator = at().generator("mix")
    views = [augmix(batch.images, batch.labels, generator=generator).images for _ in range(2)]
    F.cross_entropy(task.predict(torch.cat([batch.images, *views]))[:6], batch.labels).backward()
    assert not torch.allclose(task.backbone.layer1[0].weight.grad, both)


def test_wrong_values_are_named_when_the_task_is_built():
    for arguments, named in (({"jsd_weight": -1.0}, "jsd_weight"), ({"severity": 20}, "severity")):
        with pytest.raises(ValueError, match=named):
            make_task(**arguments)


def test_it_is_a_task_by_name():
    assert TASKS.get("AugMixClassification") is AugMixClassification
    assert issubclass(AugMixClassification, Classification)


def test_a_run(lab, tmp_path):
    model = {
        "type": "AugMixClassification",
        "backbone": {"type": "ConvNet", "widths": [4, 8], "in_channels": 1},
        "head": {"type": "ClsHead", "num_classes": 10},
        "severity": 2,
    }
    path = lab.write(tmp_path, model=model)
    metrics = lab.train(path, tmp_path / "one")
    assert "top1" in metrics
    train = [record for record in lab.records(tmp_path / "one") if record["split"] == "train"]
    assert all(record["jsd"] >= 0 and record["loss"] > 0 for record in train)
    lab.train(path, tmp_path / "two")
    lab.assert_same_run(tmp_path / "one", tmp_path / "two")
