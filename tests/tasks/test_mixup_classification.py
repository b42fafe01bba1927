"""The mixing task against its definition: which method is drawn, what it is given, what the loss is."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare
from torch import nn

import openmix
from openmix.mixers import catalog
from openmix.mixers.catalog import mixer
from openmix.models import ClsHead, ClsMixupHead
from openmix.tasks import MixUpClassification

LAYERLESS = ["vanilla", "mixup", "cutmix", "resizemix"]


def naive_loss(logits, labels, weights):
    """Cross entropy with soft labels, term by term."""
    log_p = logits - logits.exp().sum(1, keepdim=True).log()
    terms = [
        -sum(w * log_p[b, c] for c, w in zip(labels[b].tolist(), weights[b].tolist(), strict=True))
        for b in range(len(logits))
    ]
    return torch.stack(terms).mean()


def step_by_hand(task, batch, mixer, generator):
    mixed = mixer(batch.images, batch.labels, generator=generator)
    return naive_loss(task.predict(mixed.images), *mixed.target)


@pytest.mark.parametrize("name", LAYERLESS)
def test_loss_of_one_mode(name, make_task, make_batch, at):
    task, batch = make_task(mix_mode=name, alpha=0.7), make_batch()
    hyper = {} if name == "vanilla" else {"alpha": 0.7}
    for step in range(3):
        mixer, generator = openmix.build_mixer(name, **hyper), at(step).generator("mix")
        expected = step_by_hand(task, batch, mixer, generator)
        torch.testing.assert_close(task(batch, at(step))["loss"], expected)


def test_loss_of_per_image_lambdas(make_task, make_batch, at):
    """Where averaging the loss before weighing it would differ."""
    task = make_task(mix_mode="mixup", mix_args={"mixup": {"per_sample": True}})
    batch = make_batch()
    mixer = openmix.build_mixer("mixup", per_sample=True)
    expected = step_by_hand(task, batch, mixer, at().generator("mix"))
    torch.testing.assert_close(task(batch, at())["loss"], expected)


def test_loss_of_a_list(make_task, make_batch, at, spy):
    """Whatever is drawn gets its own alpha and the generator as it stands after the choice."""
    task, batch = make_task(mix_mode=LAYERLESS, alpha=[9.0, 0.2, 3.0, 9.0]), make_batch()
    mixers = {
        "vanilla": openmix.Vanilla(),
        "mixup": openmix.MixUp(alpha=0.2),
        "cutmix": openmix.CutMix(alpha=3.0),
        "resizemix": openmix.ResizeMix(),
    }
    calls = spy(task)
    for step in range(12):
        loss = task(batch, at(step))["loss"]
        call = calls[-1]
        assert len(calls) == step + 1
        torch.testing.assert_close(loss, step_by_hand(task, batch, mixers[call.name], call.generator()))
    assert {call.name for call in calls} == set(LAYERLESS)


def test_vanilla_is_the_plain_loss(make_task, make_batch, at):
    task, batch = make_task(mix_mode="vanilla"), make_batch()
    report = task(batch, at())
    logits = task.predict(batch.images)
    torch.testing.assert_close(report["loss"], nn.functional.cross_entropy(logits, batch.labels))
    hits = (logits.argmax(1) == batch.labels).float().mean()
    torch.testing.assert_close(report["top1_dominant"], 100 * hits)


@pytest.mark.parametrize(
    ("modes", "given", "expected"),
    [
        (["mixup", "cutmix"], [0.4, 0.6], [0.4, 0.6]),
        (["vanilla", "mixup", "resizemix"], [0.1, 0.2, 0.7], [0.1, 0.2, 0.7]),
        (["mixup", "cutmix", "vanilla"], None, [1 / 3] * 3),
        (["mixup", "cutmix", "vanilla"], [0.5, 0.0, 0.5], [0.5, 0.0, 0.5]),
    ],
)
def test_how_often_each_mode_is_drawn(modes, given, expected, make_task, make_batch, at, spy, raw):
    task, batch = make_task(raw, mix_mode=modes, mix_prob=given), make_batch(2, side=2)
    calls = spy(task)
    with torch.no_grad():
        for step in range(1500):
            task(batch, at(step, shard=step % 2))
    counts = {m: sum(call.name == m for call in calls) for m in modes}
    assert all(counts[m] == 0 for m, p in zip(modes, expected, strict=True) if p == 0)
    possible = [(counts[m], 1500 * p) for m, p in zip(modes, expected, strict=True) if p > 0]
    assert chisquare(*zip(*possible, strict=True)).pvalue > 0.01


def test_one_draw_serves_the_whole_batch_and_the_next_is_independent(make_task, make_batch, at, spy, raw):
    """Pairs of neighbouring steps, and of neighbouring shards, fall evenly into the four cells."""
    task, batch = make_task(raw, mix_mode=["vanilla", "mixup"]), make_batch(2, side=2)
    calls = spy(task)
    with torch.no_grad():
        for step in range(400):
            for shard in (0, 1):
                task(batch, at(step, shard))
    names = [call.name for call in calls]
    by_shard = list(zip(names[::2], names[1::2], strict=True))
    by_step = list(zip(names[0::4], names[2::4], strict=True))
    for pairs in (by_shard, by_step):
        cells = [pairs.count((a, b)) for a in ("vanilla", "mixup") for b in ("vanilla", "mixup")]
        assert chisquare(cells).pvalue > 0.01


@pytest.mark.parametrize("mode", [*LAYERLESS, "manifoldmix"])
def test_a_list_of_one_is_that_one(mode, make_task, make_batch, at):
    batch = make_batch()
    single, listed = (make_task(mix_mode=modes)(batch, at(2))["loss"] for modes in (mode, [mode]))
    assert torch.equal(single, listed)


@pytest.mark.parametrize("head", [ClsHead, ClsMixupHead])
def test_either_head_will_do(head, make_task, make_batch, at):
    task, batch = make_task(mix_mode="cutmix"), make_batch()
    other = MixUpClassification(task.backbone, head(num_classes=5, in_channels=8), mix_mode="cutmix")
    other.head.load_state_dict(task.head.state_dict())
    torch.testing.assert_close(other(batch, at())["loss"], task(batch, at())["loss"])


def hyper_of(task: MixUpClassification) -> list[dict]:
    return [mixer.hyper for mixer in task.mixers]


def test_alpha_by_mode(make_task):
    task = make_task(mix_mode=["mixup", "vanilla", "cutmix", "resizemix"], alpha=[0.1, 5.0, 1, 0.3])
    assert [m.name for m in task.mixers] == ["mixup", "vanilla", "cutmix", "resizemix"]
    assert hyper_of(task) == [{"alpha": 0.1}, {}, {"alpha": 1}, {"alpha": 0.3}]


def test_one_alpha_for_all(make_task):
    task = make_task(mix_mode=("mixup", "vanilla", "cutmix"), alpha=0.25)
    assert hyper_of(task) == [{"alpha": 0.25}, {}, {"alpha": 0.25}]


def test_own_hyper_parameters_win(make_task):
    own = {"cutmix": {"alpha": 0.4, "per_sample": True}, "mixup": {"per_sample": True}}
    task = make_task(mix_mode=["mixup", "cutmix"], alpha=[0.1, 1], mix_args=own)
    assert hyper_of(task) == [{"alpha": 0.1, "per_sample": True}, {"alpha": 0.4, "per_sample": True}]
    assert own == {"cutmix": {"alpha": 0.4, "per_sample": True}, "mixup": {"per_sample": True}}


def test_entries_for_other_modes_are_not_used(make_task):
    task = make_task(mix_mode="mixup", mix_args={"cutmix": {"per_sample": True}, "resizemix": {"scope": (0.2, 0.3)}})
    assert [m.name for m in task.mixers] == ["mixup"]


def test_a_preset(make_task):
    task = make_task(mix_mode="resizemix", mix_args={"resizemix": {"preset": "openmixup"}})
    assert task.mixers[0].hyper["placement"] == "clip"


@pytest.mark.parametrize("repeat", [2, 3])
def test_repeats_are_averaged(repeat, make_task, make_batch, at, spy):
    task, batch = make_task(mix_mode=["mixup", "cutmix"], mix_repeat=repeat), make_batch()
    calls, forwards = spy(task), []
    task.backbone.register_forward_hook(lambda *_: forwards.append(1))
    loss = task(batch, at(4))["loss"]
    assert len(calls) == len(forwards) == repeat
    assert len({tuple(call.state.tolist()) for call in calls}) == repeat, "each repeat draws anew"
    mixers = {"mixup": openmix.MixUp(), "cutmix": openmix.CutMix()}
    losses = [step_by_hand(task, batch, mixers[call.name], call.generator()) for call in calls]
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    assert max(losses) - min(losses) > 1e-3, "the test could not tell a mean from a single loss"


def test_repeated_accuracy_is_averaged(make_task, make_batch, at):
    batch = make_batch(12)
    single, double = make_task(mix_mode="cutmix"), make_task(mix_mode="cutmix", mix_repeat=2)
    differ = 0
    for step in range(5):
        first = single(batch, at(step))["top1_dominant"]
        generator = at(step).generator("mix")
        double.mixers[0](batch.images, batch.labels, generator=generator)  # the first of its two draws
        mixed = double.mixers[0](batch.images, batch.labels, generator=generator)
        hits = double.predict(mixed.images).argmax(1) == mixed.target.dominant()
        second = 100 * hits.float().mean()
        torch.testing.assert_close(double(batch, at(step))["top1_dominant"], (first + second) / 2)
        differ += bool(first != second)
    assert differ, "the test could not tell"


def test_a_step_is_a_function_of_its_place(make_task, make_batch, at):
    task, batch = make_task(mix_mode=["mixup", "cutmix"]), make_batch()
    loss = task(batch, at(5, shard=1, seed=2))["loss"]
    task(batch, at(6))
    torch.manual_seed(99)
    assert torch.equal(task(batch, at(5, shard=1, seed=2))["loss"], loss)
    others = [at(6, shard=1, seed=2), at(5, shard=2, seed=2), at(5, shard=1, seed=3), at(1, shard=5, seed=2)]
    for other in others:
        assert not torch.equal(task(batch, other)["loss"], loss)


def test_torchs_own_generator_is_left_alone(make_task, make_batch, at):
    task = make_task(mix_mode=["mixup", "manifoldmix", "cutmix"], mix_repeat=4)
    before = torch.get_rng_state()
    task(make_batch(), at())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("mode", [*LAYERLESS, "manifoldmix"])
def test_the_batch_is_not_modified(mode, make_task, make_batch, at):
    task, batch = make_task(mix_mode=mode), make_batch()
    images, labels = batch.images.clone(), batch.labels.clone()
    for step in range(4):
        task(batch, at(step))["loss"].backward()
    assert torch.equal(batch.images, images) and torch.equal(batch.labels, labels)


def naive_hits(predicted, target) -> tuple[int, int]:
    """How many predictions are the label of the largest share, and how many the image's own."""
    hits, own = 0, 0
    for row, labels in enumerate(target.labels.tolist()):
        weights = target.weights[row].tolist()
        dominant = labels[0] if weights[0] >= weights[1] else labels[1]
        hits += predicted[row] == dominant
        own += predicted[row] == labels[0]
    return hits, own


@pytest.mark.parametrize("mode", ["mixup", "cutmix"])
def test_accuracy_on_the_dominant_label(mode, make_task, make_batch, at):
    task, batch = make_task(mix_mode=mode, mix_args={mode: {"per_sample": True}}), make_batch(32)
    counts = []
    for step in range(5):
        mixed = task.mixers[0](batch.images, batch.labels, generator=at(step).generator("mix"))
        counts.append(naive_hits(task.predict(mixed.images).argmax(1).tolist(), mixed.target))
        report = task(batch, at(step))
        assert report["top1_dominant"].item() == pytest.approx(100 * counts[-1][0] / 32)
        assert not report["top1_dominant"].requires_grad
    assert any(hits != own for hits, own in counts), "the test could not tell"


def test_the_report(make_task, make_batch, at):
    report = make_task(mix_mode=["mixup", "manifoldmix"])(make_batch(), at())
    assert list(report) == ["loss", "top1_dominant"]
    assert all(value.shape == () for value in report.values())


def test_gradients_reach_every_weight(make_task, make_batch, at):
    task = make_task(mix_mode=["cutmix", "vanilla"], mix_repeat=2)
    task(make_batch(), at())["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in task.parameters())


def test_label_smoothing_is_the_losss(make_task, make_batch, at):
    """It changes the loss, not the target: with smoothing s it is (1 - s) of the mixed and s of the uniform loss."""
    task, batch = make_task(mix_mode="mixup"), make_batch()
    plain = task(batch, at())["loss"]
    mixed = task.mixers[0](batch.images, batch.labels, generator=at().generator("mix"))
    log_p = task.predict(mixed.images).log_softmax(1)
    task.head.criterion.label_smoothing = 0.2
    torch.testing.assert_close(task(batch, at())["loss"], 0.8 * plain - 0.2 * log_p.mean(1).mean())


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("mode", [*LAYERLESS, "manifoldmix"])
def test_odd_batches_and_a_single_image(mode, size, make_task, make_batch, at):
    task = make_task(mix_mode=mode)
    assert torch.isfinite(task(make_batch(size, side=7), at())["loss"])


def test_evaluation_does_not_mix(make_task, make_batch):
    task = make_task(mix_mode=["mixup", "manifoldmix"]).eval()
    images = make_batch().images
    expected = task.head(task.backbone(images)[-1].mean((2, 3)))
    torch.testing.assert_close(task.predict(images), expected)


def test_without_alpha_each_method_keeps_its_own(make_task):
    task = make_task(mix_mode=["mixup", "manifoldmix"], alpha=None)
    assert [mixer.function.keywords.get("alpha") for mixer in task.mixers] == [None, None]
    given = make_task(mix_mode=["mixup", "manifoldmix"], alpha=0.5)
    assert [mixer.function.keywords["alpha"] for mixer in given.mixers] == [0.5, 0.5]


# Some images, some epochs, and what black and white are


class Raw(nn.Module):
    """A backbone that keeps what it is shown."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return (images,)


class Flat(nn.Module):
    """A head that says what it is given."""

    def forward(self, features):
        return features[0].flatten(1)[:, :5]

    def loss(self, logits, target):
        return logits.mean()


def test_only_some_images_take_part(make_task, make_batch, at):
    task = make_task(mix_mode=["mixup", "cutmix"], mix_sample_prob=[0.0, 1.0])
    assert [type(m).__name__ for m in task.mixers] == ["PerSample", "CutMix"]
    raw = task.backbone = Raw()
    task.neck, task.head = nn.Identity(), Flat()
    batch = make_batch()
    untouched = 0
    for step in range(20):
        task(batch, at(step))
        untouched += torch.equal(raw.seen[-1], batch.images)
    assert 3 <= untouched <= 17  # mixup's turns, at probability 0, leave the batch alone


def test_mixing_stops_after_its_epochs(make_task, make_batch, at):
    task = make_task(mix_mode="mixup", mix_epochs=(1, 3))
    raw = task.backbone = Raw()
    task.neck, task.head = nn.Identity(), Flat()
    batch = make_batch()
    for epoch in range(5):
        task(batch, at(epoch=epoch))
    assert [torch.equal(seen, batch.images) for seen in raw.seen] == [True, False, False, True, True]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"mix_sample_prob": 1.5}, "mix_sample_prob"),
        ({"mix_sample_prob": [0.5, 0.5]}, "mix_sample_prob"),
        ({"mix_sample_prob": float("nan")}, "mix_sample_prob"),
        ({"mix_epochs": (3, 3)}, "mix_epochs"),
        ({"mix_epochs": (-1, 3)}, "mix_epochs"),
        ({"mix_epochs": (1,)}, "mix_epochs"),
    ],
)
def test_bad_shares_and_epochs_are_named(make_task, arguments, named):
    with pytest.raises(ValueError, match=named):
        make_task(mix_mode="mixup", **arguments)


def test_methods_are_told_what_black_and_white_are(make_task, make_batch, at):
    told = []

    @mixer("Coloured")
    def coloured(images, labels, *, generator=None, pixel_range=None):
        told.append(pixel_range)
        return openmix.mixers.vanilla(images, labels)

    try:
        task = make_task(mix_mode="coloured")
        batch = replace(make_batch(), pixel_range=torch.tensor([[-1.0], [2.0]]))
        task(batch, at())
        task.policy(batch.images, batch.labels, pixel_range=batch.pixel_range)
        task.mixers[0](batch.images, batch.labels)
    finally:
        catalog._METHODS.pop("coloured")
    assert [t is None for t in told[-3:]] == [False, False, True]
    assert told[-3] is batch.pixel_range


def test_a_clean_pass_shows_in_the_running_statistics_alone(make_task, make_batch, at):
    """BatchNorm's averages move towards the clean batch first, then towards the mixed one, by a tenth each."""
    plain, both, batch = make_task(mix_mode="cutmix"), make_task(mix_mode="cutmix", clean_pass=True), make_batch()
    both.load_state_dict(plain.state_dict())
    losses = [task(batch, at())["loss"] for task in (plain, both)]
    assert torch.equal(*losses)
    for loss in losses:
        loss.backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(plain.parameters(), both.parameters(), strict=True))

    mixed = openmix.CutMix()(batch.images, batch.labels, generator=at().generator("mix")).images
    conv = both.backbone.layer1[0]
    clean_mean, mixed_mean = (conv(images).mean((0, 2, 3)) for images in (batch.images, mixed))
    torch.testing.assert_close(plain.backbone.layer1[1].running_mean, 0.1 * mixed_mean)
    torch.testing.assert_close(both.backbone.layer1[1].running_mean, 0.9 * 0.1 * clean_mean + 0.1 * mixed_mean)


def test_every_weight_is_trained_after_a_clean_pass_under_autocast(make_task, make_batch, at):
    """torch's autocast keeps the weights that it casts, and older ones keep those without a gradient too."""
    task = make_task(mix_mode="cutmix", clean_pass=True)
    with torch.autocast("cpu", torch.bfloat16):
        loss = task(make_batch(), at())["loss"]
    loss.backward()
    assert [name for name, p in task.named_parameters() if p.grad is None] == []
