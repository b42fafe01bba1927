"""What is said to somebody whose ``model`` cannot work, before any data is touched."""

import pytest
from torch import nn

from openmix.mixers.catalog import mixer
from openmix.models import ConvNet

WRONG = {
    "unknown mode": ({"mix_mode": "cutmx"}, ["cutmx", "cutmix"]),
    "unknown mode in a list": ({"mix_mode": ["mixup", "ResizMix"]}, ["ResizMix", "resizemix"]),
    "no mode": ({"mix_mode": []}, ["mix_mode", "cutmix"]),
    "unknown hyper-parameter": ({"mix_args": {"mixup": {"alhpa": 1.0}}}, ["mixup", "alhpa", "alpha"]),
    "of a mode that is not used": ({"mix_args": {"cutmix": {"per_smaple": True}}}, ["cutmix", "per_sample"]),
    "unknown mode in mix_args": ({"mix_args": {"cutmox": {}}}, ["mix_args", "cutmox", "cutmix"]),
    "wrong value in mix_args": ({"mix_args": {"mixup": {"alpha": -1}}}, ["alpha", "-1"]),
    "wrong value of an unused mode": ({"mix_args": {"resizemix": {"scope": (0.9, 0.1)}}}, ["scope", "0.9"]),
    "unknown preset": ({"mix_args": {"resizemix": {"preset": "openmix"}}}, ["openmix", "openmixup"]),
    "wrong alpha": ({"alpha": 0}, ["alpha", "0"]),
    "wrong alpha in a list": ({"mix_mode": ["mixup", "cutmix"], "alpha": [1, -2]}, ["alpha", "-2"]),
    "too few alphas": ({"mix_mode": ["mixup", "cutmix", "vanilla"], "alpha": [1, 1]}, ["alpha", "2", "3"]),
    "too many alphas": ({"mix_mode": "mixup", "alpha": [1, 1]}, ["alpha", "2", "1 mode"]),
    "too few probabilities": ({"mix_mode": ["mixup", "cutmix"], "mix_prob": [1.0]}, ["mix_prob", "1", "2"]),
    "too many probabilities": ({"mix_mode": "mixup", "mix_prob": [0.5, 0.5]}, ["mix_prob", "2", "1"]),
    "negative probability": ({"mix_mode": ["mixup", "cutmix"], "mix_prob": [1.5, -0.5]}, ["mix_prob", "-0.5"]),
    "sum below 1": ({"mix_mode": ["mixup", "cutmix"], "mix_prob": [0.4, 0.5]}, ["mix_prob", "0.9"]),
    "sum above 1": ({"mix_mode": ["mixup", "cutmix"], "mix_prob": [0.6, 0.6]}, ["mix_prob", "1.2"]),
    "NaN among probabilities": ({"mix_mode": ["mixup", "cutmix"], "mix_prob": [float("nan"), 1.0]}, ["mix_prob"]),
    "NaN last": ({"mix_mode": ["mixup", "cutmix"], "mix_prob": [1.0, float("nan")]}, ["mix_prob"]),
    "no repeat": ({"mix_repeat": 0}, ["mix_repeat", "0"]),
    "negative repeat": ({"mix_repeat": -1}, ["mix_repeat", "-1"]),
    "a layer that the network lacks": (
        {"mix_mode": ["mixup", "manifoldmix"], "mix_args": {"manifoldmix": {"layers": [0, 3]}}},
        ["layers", "layer2", "3"],
    ),
    "a negative layer": (
        {"mix_mode": "manifoldmix", "mix_args": {"manifoldmix": {"layers": [-1]}}},
        ["layers", "-1"],
    ),
    "no layer": ({"mix_mode": "manifoldmix", "mix_args": {"manifoldmix": {"layers": []}}}, ["layers"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case, make_task):
    arguments, said = WRONG[case]
    with pytest.raises(ValueError) as error:
        make_task(**arguments)
    for word in said:
        assert word in str(error.value)


def test_probabilities_as_people_write_them(make_task):
    make_task(mix_mode=["mixup", "cutmix", "vanilla"], mix_prob=[1 / 3, 1 / 3, 1 / 3])
    make_task(mix_mode=["mixup"] * 10, mix_prob=[0.1] * 10)
    make_task(mix_mode="mixup", mix_prob=[1])


def test_a_network_of_too_few_stages(make_task):
    with pytest.raises(ValueError, match=r"layers must be numbers from 0 \(input\) to 1"):
        make_task(ConvNet((8,)), mix_mode="manifoldmix")


def test_a_network_without_stages(make_task, raw):
    with pytest.raises(ValueError, match=r"manifoldmix .* Raw names none \(stage_names\)"):
        make_task(raw, mix_mode=["mixup", "manifoldmix"])
    make_task(raw, mix_mode=["mixup", "cutmix"])


def test_a_stage_name_that_is_no_module(make_task):
    backbone = ConvNet((4, 8))
    backbone.stage_names = ("layer1", "layer9")
    with pytest.raises(ValueError, match="ConvNet has no stage 'layer9'; it has: layer1"):
        make_task(backbone, mix_mode="manifoldmix")


@pytest.mark.usefixtures("own_methods")
def test_a_learned_method_belongs_to_its_own_task(make_task):
    @mixer("Learner", kind="learned")
    def learner(images, labels, *, generator=None):
        raise AssertionError

    with pytest.raises(ValueError, match=r"learner .* its own task"):
        make_task(mix_mode=["mixup", "learner"])


@pytest.mark.usefixtures("own_methods")
def test_an_input_method_whose_needs_nothing_computes(make_task):
    @mixer("Guided", needs=("attention",))
    def guided(images, labels, *, generator=None, attention):
        return None

    with pytest.raises(ValueError, match=r"guided needs what cannot be had of ConvNet: "):
        make_task(mix_mode="guided")


@pytest.mark.usefixtures("own_methods")
def test_a_label_method_whose_needs_nothing_computes(make_task):
    @mixer("Attending", kind="label", needs=("features", "attention"), base="cutmix")
    def attending(mixed, *, features, attention):
        return mixed.target

    with pytest.raises(ValueError, match=r"attending needs what cannot be had of ConvNet: "):
        make_task(mix_mode="attending")


def test_an_unused_backbone_hook_is_not_left_behind(make_task):
    """Without a feature method nothing is installed: plain runs pay nothing."""
    task = make_task(mix_mode=["mixup", "cutmix"])
    assert task.mix_points is None
    assert not any(m._forward_hooks for m in task.modules() if isinstance(m, nn.Module))


def test_a_method_that_doubles_the_batch_cannot_leave_images_alone(make_task):
    with pytest.raises(ValueError, match="resizemixplus returns more images"):
        make_task(mix_mode=["cutmix", "resizemixplus"], mix_sample_prob=0.5)


def test_activations_computed_anew_are_refused(make_task):
    class Saving(ConvNet):
        grad_checkpointing = True

    with pytest.raises(ValueError, match="grad_checkpointing"):
        make_task(backbone=Saving([4, 8]), mix_mode="manifoldmix")
    make_task(backbone=Saving([4, 8]), mix_mode="cutmix")


def test_an_open_end_and_own_defaults(make_task):
    task = make_task(mix_mode=["ricap", "cutmix"], alpha=[None, 0.2], mix_epochs=(5, None))
    assert [m.hyper for m in task.mixers] == [{}, {"alpha": 0.2}]
    assert task.policy.acts(10**6) and not task.policy.acts(4)
