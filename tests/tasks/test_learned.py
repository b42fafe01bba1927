"""What AutoMix, SAMix and AdAutoMix share: the momentum, the draw, the two encoders and what a run does with them."""

import copy
import math

import pytest
import torch
from torch import nn

from openmix.models import ClsHead, ClsMixupHead, ConvNet, PixelMixBlock, TimmBackbone
from openmix.tasks import AutoMixClassification, SAMixClassification, StepContext
from openmix.tasks.learned import Draw, Momentum, draw_pair

TASKS = (AutoMixClassification, SAMixClassification)


def make(kind=AutoMixClassification, backbone=None, seed=0, **arguments):
    torch.manual_seed(seed)
    backbone = ConvNet((4, 8)) if backbone is None else backbone
    return kind(backbone, ClsMixupHead(5, backbone.out_channels[-1]), **arguments)


def place(progress: float, step: int = 0) -> StepContext:
    return StepContext(seed=0, epoch=0, step=step, shard=0, progress=progress)


# The momentum


def test_the_schedule_at_named_steps_of_the_authors_hook():
    """0.999 for the first tenth, then the cosine that has counted from the first step: of 1000 steps."""
    schedule = Momentum(0.999, 0.999999, 0.1)
    for step in (0, 1, 99):
        assert schedule.at(step / 1000) == 0.999
    for step in (100, 101, 250, 500, 999, 1000):
        expected = 0.999999 - (0.999999 - 0.999) * (math.cos(math.pi * step / 1000) + 1) / 2
        assert schedule.at(step / 1000) == pytest.approx(expected, abs=1e-12)
    assert schedule.at(0.1) == pytest.approx(0.99902445, abs=1e-8)
    assert schedule.at(0.5) == pytest.approx(0.9994995, abs=1e-9)
    assert schedule.at(1.0) == 0.999999


@pytest.mark.parametrize("progress", [0.05, 0.1, 0.7])
def test_the_momentum_encoder_follows_by_it_and_keeps_its_statistics(make_batch, progress):
    task, batch = make(), make_batch(6)
    context = place(progress)
    task(batch, context)["loss"].backward()
    with torch.no_grad():
        for p in task.parameters():
            if p.grad is not None:
                p -= p.grad
    before = {name: value.clone() for name, value in task.teacher.state_dict().items()}
    task.after_step(context)
    student = {name: value for name, value in task.state_dict().items() if not name.startswith("teacher.")}
    m, buffers = task.momentum.at(progress), dict(task.teacher.named_buffers())
    assert {name.split(".")[0] for name in before} == {"backbone", "head", "head_one"}
    for name, value in task.teacher.state_dict().items():
        if name in buffers:
            assert torch.equal(value, before[name]), name
        else:
            torch.testing.assert_close(value, m * before[name] + (1 - m) * student[name], rtol=1e-5, atol=1e-7)


# The draw


def test_a_draw_has_own_share_and_label_first(make_batch):
    batch, generator = make_batch(6), torch.Generator().manual_seed(3)
    draw = draw_pair(6, 2.0, generator)
    assert draw.sources[:, 0].tolist() == list(range(6))
    assert sorted(draw.sources[:, 1].tolist()) == list(range(6))
    assert draw.lam.shape == (1, 2)
    assert draw.lam.sum().item() == pytest.approx(1)
    own = torch.rand(6, *batch.images.shape[2:])
    mixed = draw.mixed(batch.images, batch.labels, torch.stack([own, 1 - own], dim=1))
    for b in range(6):
        other = int(draw.sources[b, 1])
        expected = own[b] * batch.images[b] + (1 - own[b]) * batch.images[other]
        torch.testing.assert_close(mixed.images[b], expected)
        assert mixed.target.labels[b].tolist() == [batch.labels[b], batch.labels[other]]
        assert torch.equal(mixed.target.weights[b], draw.lam[0])
        assert torch.equal(mixed.mask[b, 0], own[b])


def test_lambda_is_beta_of_alpha():
    generator = torch.Generator().manual_seed(0)
    for alpha in (0.5, 2.0):
        lam = torch.stack([draw_pair(1, alpha, generator).lam[0, 0] for _ in range(4000)])
        assert lam.mean().item() == pytest.approx(0.5, abs=0.02)
        assert lam.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)


@pytest.mark.parametrize(("own", "within"), [(0.0, True), (0.08, True), (0.09, False), (0.91, False), (0.93, True)])
def test_the_margin_is_at_both_ends(own, within):
    assert Draw(torch.zeros(1, 2, dtype=torch.int64), torch.tensor([[own, 1 - own]])).within(0.0800001) == within


# What a run makes of the networks


@pytest.mark.parametrize("kind", TASKS)
def test_groups_are_named_and_hold_each_trained_parameter_once(kind):
    task = make(kind)
    groups = {group["name"]: group["params"] for group in task.parameter_groups()}
    assert list(groups) == ["student", "mix_block"]
    assert {id(p) for p in groups["mix_block"]} == {id(p) for p in task.mix_block.parameters()}
    trained = {id(p) for name, p in task.named_parameters() if not name.startswith("teacher.")}
    assert {id(p) for params in groups.values() for p in params} == trained
    assert sum(map(len, groups.values())) == len(trained)
    assert not any(p.requires_grad for p in task.teacher.parameters())


def test_state_has_each_network_once():
    tops = {name.split(".")[0] for name in make().state_dict()}
    assert tops == {"backbone", "head", "head_one", "mix_block", "teacher"}


def test_predictions_name_both_encoders_and_both_classifiers(make_batch):
    task, images = make().eval(), make_batch(6).images
    for p in task.teacher.parameters():
        nn.init.normal_(p)
    nn.init.normal_(task.head_one.fc.weight)
    found = task.predictions(images)
    assert list(found) == ["", "q", "one_q", "k", "one_k"]
    assert torch.equal(found[""], found["q"])
    assert torch.equal(found["q"], task.predict(images))
    assert torch.equal(found["one_q"], task.head_one(task.neck(task.backbone(images))))
    pooled = task.teacher["backbone"](images)[-1].mean((2, 3))
    torch.testing.assert_close(found["k"], task.teacher["head"](pooled))
    torch.testing.assert_close(found["one_k"], task.teacher["head_one"](pooled))
    assert len({id(value) for value in found.values()}) == 4
    assert task.compiled() == [task.backbone, task.teacher["backbone"]]


def test_it_begins_as_the_weights_that_a_run_is_given():
    task = make()
    for p in [*task.backbone.parameters(), *task.head.parameters()]:
        nn.init.normal_(p)
    task.backbone.layer1[1].running_mean.fill_(3.0)
    task.begin()
    for name, value in task.backbone.state_dict().items():
        assert torch.equal(value, task.teacher["backbone"].state_dict()[name])
    for one in (task.head_one, task.teacher["head"], task.teacher["head_one"]):
        assert torch.equal(one.fc.weight, task.head.fc.weight)
    assert all(p.requires_grad for p in task.head_one.parameters())


def test_a_second_classifier_of_another_form_stays_as_it_begins():
    class Cosine(ClsHead):
        def __init__(self) -> None:
            super().__init__(5, 8)
            self.scale = nn.Parameter(torch.ones(1))

    task = make(head_one=Cosine())
    before = task.head_one.fc.weight.clone()
    nn.init.normal_(task.head.fc.weight)
    task.begin()
    assert torch.equal(task.head_one.fc.weight, before)
    assert torch.equal(task.teacher["head_one"].fc.weight, before)


def test_a_copy_follows_its_own_student():
    task = make()
    other = copy.deepcopy(task)
    with torch.no_grad():
        for p in other.backbone.parameters():
            p.fill_(1.0)
    other.after_step(place(0.0))
    ours, theirs = task.teacher["backbone"].layer1[0].weight, other.teacher["backbone"].layer1[0].weight
    torch.testing.assert_close(theirs, 0.999 * ours + 0.001)


class Own(nn.Module):
    """A backbone of a user's own, which knows of no argument but the images."""

    out_channels = (4, 8)

    def __init__(self) -> None:
        super().__init__()
        self.net = ConvNet((4, 8))

    def forward(self, images):
        return self.net(images)


def test_a_backbone_without_upto_runs_to_its_end(make_batch, at):
    batch, reports = make_batch(6), []
    for backbone in (ConvNet((4, 8)), Own()):
        task = make(backbone=backbone)
        net = backbone.net if isinstance(backbone, Own) else backbone
        torch.manual_seed(1)
        for p in net.parameters():
            nn.init.normal_(p, std=0.3)
        task.begin()
        reports.append(task(batch, at())["loss"])
    assert torch.equal(*reports)


def test_statistics_behind_the_mask_layer_are_of_mixed_images_alone(make_batch, at):
    """The clean pass ends where the mix block looks; the authors' goes on, to no end but these numbers."""
    task = make(backbone=ConvNet((4, 8, 6)), seed=2)
    task(make_batch(6, side=16), at())
    counts = {n: int(v) for n, v in task.teacher.named_buffers() if n.endswith("num_batches_tracked")}
    assert {n.split(".")[1] for n, v in counts.items() if v == 2} == {"layer1", "layer2"}
    assert {n.split(".")[1] for n, v in counts.items() if v == 1} == {"layer3"}
    assert all(int(v) == 2 for n, v in task.backbone.named_buffers() if n.endswith("num_batches_tracked"))


@pytest.mark.parametrize("kind", TASKS)
def test_a_vision_transformers_tokens_are_a_map(kind, make_batch, at):
    vit = TimmBackbone("test_vit", img_size=(8, 10), model_args={"patch_size": 2})
    task = make(kind, vit, mask_layer=1)
    report = task(make_batch(6), at())
    report["loss"].backward()
    assert all(bool(value.isfinite()) for value in report.values())
    assert all(p.grad is not None for p in task.mix_block.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mask_layer": 2}, "mask_layer must be one of the 2 maps of ConvNet"),
        ({"mask_layer": -3}, "mask_layer must be one of the 2 maps"),
        ({"mask_layer": 0.5}, "mask_layer must be"),
        ({"alpha": 0}, "alpha must be a number above 0"),
        ({"lam_margin": 2}, r"lam_margin must be a number in \[0, 1\]"),
        ({"mask_loss": -1}, "mask_loss must be a number of at least 0"),
        ({"mask_loss_end": math.nan}, "mask_loss_end must be a number of at least 0"),
        ({"momentum": 1.5}, r"momentum must be a number in \[0, 1\]"),
        ({"momentum_end": 0.9}, "momentum_end must be at least momentum"),
        ({"momentum_start": -0.1}, "momentum_start must be"),
        ({"k_prob": 1.1}, "k_prob must be"),
        ({"head_one_mix": "yes"}, "head_one_mix must be True or False"),
        ({"preset": "openmixp"}, "preset must be one of 'openmixup'"),
        ({"head_one": ClsHead(4, 8)}, "head_one must have head's num_classes=5"),
        ({"mix_block": PixelMixBlock(3)}, "mix_block takes 3 channels, .* has 4"),
        ({"mix_block": ConvNet((4, 8))}, "mix_block must be called with features, sources, .*; ConvNet is not"),
        ({"mask_loss": None}, "mask_loss must be a number of at least 0"),
        ({"mask_variance": "x"}, "mask_variance must be a number of at least 0, got 'x'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_a_map_of_one_place_is_refused():
    vit = TimmBackbone("test_vit", img_size=32, model_args={"patch_size": 4})
    with pytest.raises(ValueError, match="the last map of this TimmBackbone has one place"):
        make(backbone=vit, mask_layer=-1)
