"""Mixers in other libraries' places, against those libraries; and segmentation maps, against a loop over pixels."""

import inspect
import pickle
from collections import Counter

import pytest
import timm.loss
import torch
from timm.data.mixup import Mixup, mixup_target
from torch.nn import functional as F
from torch.utils.data import DataLoader, default_collate
from torchvision.transforms import v2

import openmix
from openmix import MixCollate, MixTarget, TimmMixup

CLASSES = 7
LABELS = torch.tensor([3, 0, 6, 3, 1])
# channel c of an image is 1 everywhere where c is its label: what is visible of a class is the mean of its channel
IMAGES = F.one_hot(LABELS, CLASSES).float()[:, :, None, None].expand(-1, -1, 8, 6).contiguous()
SAMPLES = list(zip(IMAGES, LABELS.tolist(), strict=True))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def timms_target(mixed: openmix.Mixed, smoothing: float) -> torch.Tensor:
    """Each image's row by timm's own function, from a batch of the image and its partner."""
    rows = []
    for i, partner in enumerate(mixed.partner.tolist()):
        lam = mixed.target.weights[i, 0].item()
        rows.append(mixup_target(LABELS[[i, partner]], CLASSES, lam, smoothing)[0])
    return torch.stack(rows)


# TimmMixup ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("mixer", [openmix.MixUp(), openmix.CutMix(per_sample=True)], ids=repr)
def test_targets_are_timms(mixer, smoothing):
    images, target = TimmMixup(mixer, CLASSES, smoothing, seeded())(IMAGES, LABELS)
    mixed = mixer(IMAGES, LABELS, generator=seeded())
    assert torch.equal(images, mixed.images)
    assert target.dtype == torch.float32
    torch.testing.assert_close(target, timms_target(mixed, smoothing))


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("name", ["mixup", "cutmix", "resizemix"])
def test_targets_say_what_is_visible(name, size):
    """In batches of odd size too, which timm refuses."""
    mixup_fn = TimmMixup(openmix.build_mixer(name), CLASSES, generator=seeded())
    for _ in range(5):
        images, target = mixup_fn(IMAGES[:size], LABELS[:size])
        torch.testing.assert_close(target, images.mean((2, 3)), atol=2e-7, rtol=0)


def test_nothing_handed_in_is_changed():
    images, labels = IMAGES.clone(), LABELS.clone()
    mixed, _ = TimmMixup(openmix.MixUp(), CLASSES, generator=seeded())(images, labels)
    assert torch.equal(images, IMAGES) and torch.equal(labels, LABELS)
    assert not torch.equal(mixed, IMAGES)


def test_switched_off_as_timms_script_does():
    ours, timms = TimmMixup(openmix.MixUp(), CLASSES, 0.1), Mixup(label_smoothing=0.1, num_classes=CLASSES)
    ours.mixup_enabled = timms.mixup_enabled = False
    images, target = ours(IMAGES[:4], LABELS[:4])
    expected_images, expected = timms(IMAGES[:4].clone(), LABELS[:4])
    assert torch.equal(images, expected_images)
    torch.testing.assert_close(target, expected)
    ours.mixup_enabled = True
    assert not torch.equal(ours(IMAGES[:4], LABELS[:4])[1], target)


def test_torchs_default_generator_is_used_without_another():
    mixup_fn = TimmMixup(openmix.MixUp(), CLASSES)
    torch.manual_seed(5)
    one, two = mixup_fn(IMAGES, LABELS), mixup_fn(IMAGES, LABELS)
    torch.manual_seed(5)
    again = mixup_fn(IMAGES, LABELS)
    assert torch.equal(one[0], again[0]) and torch.equal(one[1], again[1])
    assert not torch.equal(one[1], two[1])


def test_timms_losses_of_dense_targets_are_ours_of_sparse_ones():
    logits = torch.randn(5, CLASSES, generator=seeded(1))
    mixed = openmix.CutMix()(IMAGES, LABELS, generator=seeded())
    _, target = TimmMixup(openmix.CutMix(), CLASSES, 0.1, seeded())(IMAGES, LABELS)
    soft = timm.loss.SoftTargetCrossEntropy()(logits, target)
    torch.testing.assert_close(openmix.mix_cross_entropy(logits, mixed.target, 0.1), soft)
    binary = timm.loss.BinaryCrossEntropy(smoothing=0.1)(logits, target)
    torch.testing.assert_close(openmix.mix_binary_cross_entropy(logits, mixed.target, 0.1), binary)


def test_the_arguments_and_defaults_of_from_args_are_timms():
    ours = inspect.signature(TimmMixup.from_args).parameters
    timms = inspect.signature(Mixup).parameters
    assert set(timms) - set(ours) == {"cutmix_minmax", "mode", "correct_lam", "multi_label"}
    assert {name: p.default for name, p in ours.items() if name in timms} == {
        name: p.default for name, p in timms.items() if name in ours
    }


def test_from_args_mixes_as_often_as_timm_says():
    """Counts of 2000 batches lie within four standard deviations."""
    mixup_fn = TimmMixup.from_args(mixup_alpha=0.8, cutmix_alpha=0.5, prob=0.7, switch_prob=0.3, num_classes=CLASSES)
    generator = seeded()
    drawn = [mixup_fn.mixer.draw(generator) for _ in range(2000)]
    assert {(m.name, m.hyper.get("alpha")) for m in drawn} == {("mixup", 0.8), ("cutmix", 0.5), ("vanilla", None)}
    counts = Counter(m.name for m in drawn)
    for name, p in {"mixup": 0.7 * 0.7, "cutmix": 0.7 * 0.3, "vanilla": 0.3}.items():
        assert abs(counts[name] - 2000 * p) < 4 * (2000 * p * (1 - p)) ** 0.5, counts


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, {"mixup"}),
        ({"mixup_alpha": 0.0, "cutmix_alpha": 1.0}, {"cutmix"}),
        ({"cutmix_alpha": 1.0, "switch_prob": 1.0}, {"cutmix"}),
        ({"cutmix_alpha": 1.0, "switch_prob": 0.0}, {"mixup"}),
        ({"prob": 0.0}, {"vanilla"}),
    ],
)
def test_from_args_at_the_ends(arguments, expected):
    mixup_fn, generator = TimmMixup.from_args(**arguments), seeded()
    assert {mixup_fn.mixer.draw(generator).name for _ in range(50)} == expected
    assert mixup_fn(IMAGES, LABELS)[1].shape == (5, 1000)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"mixup_alpha": 0.0}, "mixup_alpha and cutmix_alpha are both 0"),
        ({"mixup_alpha": -1.0}, "alpha must be a number above 0, got -1.0"),
        ({"prob": 1.5}, "prob must be a number in"),
        ({"switch_prob": -0.5}, "switch_prob must be a number in"),
        ({"label_smoothing": 2.0}, "label_smoothing must be a number in"),
    ],
)
def test_wrong_arguments_of_from_args(arguments, message):
    with pytest.raises(ValueError, match=message):
        TimmMixup.from_args(**arguments)


@pytest.mark.parametrize("place", [TimmMixup, MixCollate])
@pytest.mark.parametrize(
    "mixer, num_classes, message",
    [
        (openmix.CutMix, 10, "mixer must be one such as openmix.CutMix\\(\\), got <class"),
        (openmix.mixers.cutmix, 10, "mixer must be one such as"),
        (openmix.ManifoldMix(), 10, "mixer must mix images and need nothing else; manifoldmix is of kind 'feature'"),
        (openmix.CutMix(), 0, "num_classes must be an integer of at least 1, got 0"),
        (openmix.CutMix(), 10.0, "num_classes must be an integer"),
    ],
)
def test_wrong_arguments_fail_before_the_first_batch(place, mixer, num_classes, message):
    with pytest.raises(ValueError, match=message):
        place(mixer, num_classes)


def test_a_mixer_that_needs_more_is_refused():
    with pytest.raises(ValueError, match="rmix is of kind 'input' and needs saliency"):
        MixCollate(openmix.RMix())


# MixCollate -----------------------------------------------------------------------------------------------------------


def lams(loader: DataLoader) -> list[float]:
    """The share of the first image of each batch of sparse targets."""
    return [round(target.weights[0, 0].item(), 6) for _, target in loader]


def test_collate_is_default_collate_and_the_mixer():
    torch.manual_seed(4)
    images, target = MixCollate(openmix.CutMix(), num_classes=CLASSES)(SAMPLES)
    torch.manual_seed(4)
    expected = openmix.CutMix()(*default_collate(SAMPLES))
    assert torch.equal(images, expected.images)
    assert torch.equal(target, expected.target.soft(CLASSES))
    torch.testing.assert_close(target, images.mean((2, 3)), atol=2e-7, rtol=0)


def test_batches_are_of_torchvisions_shape_and_type():
    cutmix = v2.CutMix(num_classes=CLASSES)
    theirs = next(iter(DataLoader(SAMPLES, 5, collate_fn=lambda batch: cutmix(*default_collate(batch)))))
    ours = next(iter(DataLoader(SAMPLES, 5, collate_fn=MixCollate(openmix.CutMix(), CLASSES))))
    assert len(ours) == len(theirs) == 2
    assert [(t.shape, t.dtype) for t in ours] == [(t.shape, t.dtype) for t in theirs]


def test_sparse_targets_without_a_number_of_classes():
    images, target = MixCollate(openmix.MixUp())(SAMPLES)
    assert isinstance(target, MixTarget)
    torch.testing.assert_close(target.soft(CLASSES), images.mean((2, 3)), atol=2e-7, rtol=0)


def test_workers_and_epochs_draw_differently_and_as_torch_is_seeded():
    loader = DataLoader(SAMPLES * 4, 5, num_workers=2, collate_fn=MixCollate(openmix.MixUp()))
    torch.manual_seed(0)
    seen = lams(loader) + lams(loader)
    assert len(set(seen)) == 8
    torch.manual_seed(0)
    assert lams(loader) + lams(loader) == seen


def test_a_pickled_one_is_the_same():
    """Workers that are spawned receive it so."""
    for collate in (MixCollate(openmix.CutMix(), CLASSES), MixCollate(openmix.Choice([openmix.MixUp()]), seed=1)):
        torch.manual_seed(0)
        expected = collate(SAMPLES)
        torch.manual_seed(0)
        assert torch.equal(pickle.loads(pickle.dumps(collate))(SAMPLES)[0], expected[0])


def test_with_a_seed_neither_workers_nor_other_draws_matter():
    samples = [(image, i % CLASSES) for i, (image, _) in enumerate(SAMPLES * 4)]
    collate = MixCollate(openmix.MixUp(), seed=0)
    alone = lams(DataLoader(samples, 5, collate_fn=collate))
    torch.rand(3)
    assert lams(DataLoader(samples, 5, collate_fn=collate, num_workers=2)) == alone
    assert len(set(alone)) == 4
    assert lams(DataLoader(samples, 5, collate_fn=MixCollate(openmix.MixUp(), seed=1))) != alone


def test_with_a_seed_torchs_generator_is_left_alone():
    before = torch.get_rng_state()
    MixCollate(openmix.MixUp(), seed=0)(SAMPLES)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_collate_fn_of_ones_own():
    def from_dicts(samples):
        return tuple(default_collate([[s["image"], s["label"]] for s in samples]))

    dicts = [{"image": image, "label": label} for image, label in SAMPLES]
    images, target = MixCollate(openmix.CutMix(), CLASSES, collate_fn=from_dicts, seed=0)(dicts)
    expected, expected_target = MixCollate(openmix.CutMix(), CLASSES, seed=0)(SAMPLES)
    assert torch.equal(images, expected) and torch.equal(target, expected_target)


@pytest.mark.parametrize(
    "samples, message",
    [
        ([((i * 255).byte(), y) for i, y in SAMPLES], r"images must be floating point .* images\.float\(\) / 255"),
        ([(i, float(y)) for i, y in SAMPLES], r"labels must be int64 \(5,\)"),
        ([(i, F.one_hot(torch.tensor(y), CLASSES)) for i, y in SAMPLES], r"labels must be int64 \(5,\)"),
        ([(i, y, 0) for i, y in SAMPLES], r"pairs \(image, label\)"),
        ([{"image": i, "label": y} for i, y in SAMPLES], r"pairs \(image, label\)"),
        ([i for i, _ in SAMPLES], r"pairs \(image, label\)"),
    ],
    ids=["uint8", "float labels", "dense labels", "triples", "dicts", "images alone"],
)
@pytest.mark.parametrize("seed", [None, 0])
def test_samples_that_do_not_fit(samples, message, seed):
    with pytest.raises(ValueError, match=message):
        MixCollate(openmix.CutMix(), CLASSES, seed=seed)(samples)


# segmentation ---------------------------------------------------------------------------------------------------------

MAPS = torch.tensor([0, 3, 18, 255])[torch.randint(4, (5, 1, 8, 6), generator=seeded(2))]


@pytest.mark.parametrize("dtype, ignore", [(torch.int64, -100), (torch.int64, 255), (torch.uint8, 255)])
@pytest.mark.parametrize("mixer", [openmix.CutMix(), openmix.CutMix(per_sample=True)], ids=repr)
def test_maps_are_cut_as_images_are(mixer, dtype, ignore):
    maps = torch.where(MAPS == 255, ignore, MAPS).to(dtype)
    mixed = mixer(IMAGES, LABELS, generator=seeded(3))
    result, expected = mixed.apply(maps), maps.clone()
    for b, partner in enumerate(mixed.partner.tolist()):
        for y in range(8):
            for x in range(6):
                if mixed.mask.expand(5, 1, 8, 6)[b, 0, y, x] == 0:
                    expected[b, 0, y, x] = maps[partner, 0, y, x]
    assert result.dtype == dtype and torch.equal(result, expected)
    assert (result != maps).any() and (result == ignore).any()


def test_maps_are_moved_as_images_are():
    """Ids are copied, never averaged, and land where the image that has their values does."""
    resizemix = openmix.ResizeMix(interpolation="nearest")
    mixed = resizemix(MAPS.float(), LABELS, generator=seeded())
    result = mixed.apply(MAPS)
    assert torch.equal(result.float(), mixed.images) and (result != MAPS).any()


def test_ids_cannot_be_blended():
    with pytest.raises(TypeError, match=r"cannot blend torch\.int64.*floating"):
        openmix.MixUp()(IMAGES, LABELS).apply(MAPS)


def test_shares_of_classes_can_be_blended():
    """Pixels to ignore have no share of any class; a blend of one is an equal blend of its partner with nothing."""
    valid = MAPS != 255
    dense = F.one_hot(MAPS.where(valid, 0).squeeze(1), 19).movedim(-1, 1).float() * valid
    mixed = openmix.MixUp()(IMAGES, LABELS, generator=seeded())
    result = mixed.apply(dense)
    for b, partner in enumerate(mixed.partner.tolist()):
        lam = mixed.target.weights[b, 0]
        torch.testing.assert_close(result[b], lam * dense[b] + (1 - lam) * dense[partner])
    shown = mixed.apply(valid.float())
    torch.testing.assert_close(result.sum(1, keepdim=True), shown)


@pytest.mark.parametrize("wrapper", [lambda m: openmix.TimmMixup(m, 10), openmix.MixCollate], ids=["timm", "collate"])
def test_mixers_that_could_not_work_are_refused_at_once(wrapper):
    with pytest.raises(ValueError, match="Window"):
        wrapper(openmix.Choice([openmix.Window(openmix.CutMix(), 0, 3)]))
    with pytest.raises(ValueError, match="mixed"):
        wrapper(openmix.Choice([openmix.CutMix(), openmix.ManifoldMix()]))
