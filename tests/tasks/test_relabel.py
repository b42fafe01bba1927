"""Methods that set the labels after the forward pass, through one that only this file knows."""

import pytest
import torch
from torch import Tensor

import openmix
from openmix.mixers.catalog import mixer
from openmix.ops.losses import mix_cross_entropy
from openmix.ops.target import MixTarget

pytestmark = pytest.mark.usefixtures("own_methods")


@pytest.fixture
def strong_labels(own_methods, received) -> str:
    """Weigh each label by the strength of its source's features; the name of the method."""

    @mixer("StrongLabels", kind="label", needs=("features",), base="cutmix")
    def strong_labels(mixed, *, features: Tensor, sharpness: float = 1.0) -> MixTarget:
        strength = (sharpness * features.mean((1, 2, 3)))[mixed.sources]
        target = MixTarget(mixed.target.labels, strength.softmax(1))
        received.append({"mixed": mixed, "features": features, "sharpness": sharpness, "target": target})
        return target

    return strong_labels.__name__


def test_it_is_in_the_catalogue_for_the_test_alone(strong_labels):
    assert "strong_labels" in openmix.list_mixers()
    assert openmix.build_mixer("strong_labels").kind == "label"


def test_it_was_taken_out_again():
    assert "strong_labels" not in openmix.list_mixers()


def test_features_and_loss(strong_labels, received, make_task, make_batch, at):
    task, batch = make_task(mix_mode=strong_labels, alpha=0.6), make_batch()
    outputs, step = [], at(3)
    task.backbone.register_forward_hook(lambda module, args, output: outputs.append((args[0], output)))
    report = task(batch, step)

    by_hand = openmix.CutMix(alpha=0.6)(batch.images, batch.labels, generator=step.generator("mix"))
    (call,), ((seen, features),) = received, outputs
    assert torch.equal(call["mixed"].images, by_hand.images)
    assert torch.equal(seen, by_hand.images)
    assert torch.equal(call["features"], features[-1]), "the last stage of the forward pass of the mixed images"
    assert not call["features"].requires_grad
    logits = task.head(task.neck(features))
    torch.testing.assert_close(report["loss"], mix_cross_entropy(logits, call["target"]))
    assert abs(report["loss"] - mix_cross_entropy(logits, by_hand.target)) > 1e-4, "the test could not tell"
    hits = (logits.argmax(1) == call["target"].dominant()).float().mean()
    torch.testing.assert_close(report["top1_dominant"], 100 * hits)


def test_no_gradient_through_the_labels(strong_labels, make_task, make_batch, at, received):
    """The weights are data to the loss: the gradient is that of the loss with the target held fixed."""
    task, batch = make_task(mix_mode=strong_labels), make_batch()
    task(batch, at())["loss"].backward()
    got = [p.grad.clone() for p in task.parameters()]
    task.zero_grad()
    call = received[0]
    mix_cross_entropy(task.predict(call["mixed"].images), call["target"]).backward()
    torch.testing.assert_close(got, [p.grad for p in task.parameters()])


def test_hyper_parameters_find_their_function(strong_labels, received, make_task, make_batch, at):
    own = {strong_labels: {"sharpness": 3.0, "per_sample": True}}
    task = make_task(mix_mode=["mixup", strong_labels], alpha=[0.1, 0.6], mix_prob=[0, 1], mix_args=own)
    method = task.mixers[1]
    assert method.base.hyper == {"alpha": 0.6, "per_sample": True}
    task(make_batch(), at())
    assert received[0]["sharpness"] == 3.0
    boxes = received[0]["mixed"].plan.boxes
    assert len(boxes.unique(dim=0)) > 1, "per_sample draws a box an image"
    assert "sharpness=3.0" in repr(method) and "alpha=0.6" in repr(method)


def test_defaults_of_both(strong_labels, make_task):
    method = make_task(mix_mode=strong_labels).mixers[0]
    assert set(method.method.hyper) == {"alpha", "per_sample", "tries", "sharpness"}


def test_mistyped_hyper_parameter(strong_labels, make_task):
    with pytest.raises(ValueError, match="strong_labels takes no 'sharpnes'; did you mean 'sharpness'"):
        make_task(mix_mode=strong_labels, mix_args={strong_labels: {"sharpnes": 2.0}})
    with pytest.raises(ValueError, match="alpha must be a number above 0"):
        make_task(mix_mode=strong_labels, alpha=-1)


def test_a_list_relabels_only_its_own_steps(strong_labels, received, make_task, make_batch, at, spy):
    task, batch = make_task(mix_mode=["mixup", strong_labels, "manifoldmix"]), make_batch()
    calls = spy(task)
    for step in range(20):
        task(batch, at(step))
    drawn = [call.name for call in calls]
    assert set(drawn) == {"mixup", "strong_labels", "manifoldmix"}
    assert len(received) == drawn.count("strong_labels")


def test_a_method_without_needs(own_methods, make_task, make_batch, at):
    @mixer("Halves", kind="label", base="mixup")
    def halves(mixed) -> MixTarget:
        return MixTarget(mixed.target.labels, torch.full_like(mixed.target.weights, 0.5))

    task, batch = make_task(mix_mode="halves"), make_batch()
    mixed = openmix.MixUp()(batch.images, batch.labels, generator=at().generator("mix"))
    log_p = task.predict(mixed.images).log_softmax(1)
    expected = -log_p.gather(1, mixed.target.labels).mean(1).mean()
    torch.testing.assert_close(task(batch, at())["loss"], expected)
