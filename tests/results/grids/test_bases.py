"""Which config a run inherits: found by name beside the base and above it, or as the grid says."""

from pathlib import Path

import pytest

from openmix.errors import UserError
from openmix.results.grids.bases import base_of
from openmix.results.grids.names import joined, name_of, network_of
from openmix.results.grids.spec import grid_of

CIFAR10 = Path(__file__).parents[3] / "configs/classification/cifar10"
BASIC = CIFAR10 / "mixups/basic"
BASE = BASIC / "r18_mixups_CE_none.py"


def base(settings, file=BASE, **bases):
    axes = {name: [value] for name, value in settings.items()}
    return base_of(grid_of(file, axes, bases=bases), settings)


@pytest.mark.parametrize("mode", ["vanilla", "mixup", "cutmix", "gridmix", "resizemix", "puzzlemix", "snapmix"])
def test_methods_that_add_nothing_inherit_the_base(mode):
    """They have configs beside it, which say no more than their names and alphas."""
    assert base({"mix_mode": mode}) == BASE


@pytest.mark.parametrize("network", ["r18", "rx50", "convnet"])
def test_methods_with_parts_of_their_own_inherit_their_config(network):
    expected = BASIC / f"{network}_attentivemix_CE_none.py"
    assert base({"backbone": network, "mix_mode": "attentivemix"}) == expected
    assert base({"backbone": network, "mix_mode": ["mixup", "attentivemix"]}) == expected
    assert base({"mix_mode": "attentivemix"}, BASIC / f"{network}_mixups_CE_none.py") == expected
    assert base({"mix_mode": "attentivemix"}, expected) == expected


@pytest.mark.parametrize("mode", ["automix", "samix", "adautomix"])
@pytest.mark.parametrize("network", ["r18", "rx50", "convnet"])
def test_learned_methods_inherit_their_task(mode, network):
    (expected,) = (CIFAR10 / mode).glob(f"{network}_*.py")
    assert base({"backbone": network, "mix_mode": mode}).resolve() == expected.resolve()


def test_a_grid_may_name_them(tmp_path):
    file = tmp_path / "rx50_mine.py"
    file.touch()
    settings = {"backbone": "rx50", "mix_mode": "cutmix"}
    assert base(settings, cutmix=tmp_path / "{backbone}_mine.py") == file
    with pytest.raises(UserError, match=r"no config file .*r18_mine.py, which is to be the base of cutmix"):
        base({"mix_mode": "cutmix"}, cutmix=tmp_path / "{backbone}_mine.py")


@pytest.mark.parametrize(
    ("settings", "file", "message"),
    [
        ({"backbone": "rx51"}, BASE, "there are convnet, r18, rx50, vit_micro"),
        ({"backbone": "r18"}, CIFAR10.parent / "folder/r18_imagefolder.py", "its name says nothing of a network"),
        (
            {"mix_mode": "automix"},
            CIFAR10.parents[1] / "quickstart/digits_vanilla.py",
            "has no config of it for digits",
        ),
        ({"mix_mode": ["automix", "mixup"]}, BASE, "cannot be one of several: automix + mixup"),
    ],
)
def test_where_there_is_none(settings, file, message):
    with pytest.raises(UserError) as error:
        base(settings, file)
    assert message in str(error.value)


def test_several_configs_of_a_learned_method_have_to_be_told_apart(tmp_path):
    for name in ("r18_mixups.py", "r18_automix_a.py", "r18_automix_b.py"):
        (tmp_path / name).write_text("model = dict()\n")
    with pytest.raises(UserError, match=r"several configs of r18: r18_automix_a.py, r18_automix_b.py; name one"):
        base({"mix_mode": "automix"}, tmp_path / "r18_mixups.py")


def test_several_methods_with_parts_of_their_own_need_one_config(tmp_path):
    (tmp_path / "r18_mixups.py").write_text("model = dict(a=1)\n")
    for mode in ("attentivemix", "puzzlemix"):
        (tmp_path / f"r18_{mode}.py").write_text(f"_base_ = './r18_mixups.py'\nmodel = dict(b='{mode}')\n")
    with pytest.raises(
        UserError, match=r"attentivemix \+ puzzlemix need parts of r18_attentivemix.py, r18_puzzlemix.py"
    ):
        base({"mix_mode": ["attentivemix", "puzzlemix"]}, tmp_path / "r18_mixups.py")


@pytest.mark.parametrize(
    ("stem", "parts"),
    [
        ("r18_mixups_CE_none", ("r18", "mixups", "_CE_none")),
        ("vit_micro_mixups_CE_none", ("vit_micro", "mixups", "_CE_none")),
        ("digits_vanilla", ("digits", "vanilla", "")),
        ("r18_puzzlemix_CE_soft", ("r18", "puzzlemix", "_CE_soft")),
        ("r18_l2_a2_near", ("r18_l2_a2_near", "", "")),
        ("mixup", ("mixup", "", "")),
    ],
)
def test_parts_of_a_name(stem, parts):
    assert network_of(Path(f"{stem}.py")) == parts


def test_names():
    axes = grid_of(BASE, {"backbone": ["r18"], "mix_mode": ["mixup"], "alpha": [1], "lr": [0.1], "seed": [0]}).axes
    settings = {"backbone": "rx50", "mix_mode": ["mixup", "cutmix"], "alpha": [0.1, 1.0], "lr": 1e-05, "seed": 3}
    assert name_of(BASE, axes, settings) == "rx50_mixup-cutmix_a0.1-1_lr1e-05_s3"
    assert name_of(BASE, axes, {"alpha": None, "seed": 3}) == "r18_mixups_CE_none_anone_s3"
    assert joined(0.1 + 0.2, "-") == "0.30000000000000004"
