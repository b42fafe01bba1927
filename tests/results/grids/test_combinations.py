"""Which combinations a grid has, against itertools' product; what cannot be is refused or left out, and said."""

import itertools
from pathlib import Path

import pytest

from openmix.errors import UserError
from openmix.results.grids.axes import axis_of, value_of
from openmix.results.grids.combinations import combine
from openmix.results.grids.spec import grid_of

ROOT = Path(__file__).parents[3]
BASE = ROOT / "configs/classification/cifar10/mixups/basic/r18_mixups_CE_none.py"
AXES = {"mix_mode": ["mixup", "cutmix", "vanilla"], "alpha": [0.2, 1], "max_epochs": [200, 400], "seed": [0, 1]}


def runs(axes, **options):
    return combine(grid_of(BASE, axes, **options))


def tuples(found, names=tuple(AXES)):
    return [tuple(run[name] for name in names) for run in found.runs]


def test_they_are_the_product():
    found = runs(AXES)
    assert sorted(tuples(found)) == sorted(itertools.product(*AXES.values()))
    assert found.count == "24 runs = 3 mix_mode x 2 alpha x 2 max_epochs x 2 seed"
    assert [list(run) for run in found.runs] == [list(AXES)] * 24


def test_the_first_seed_of_all_methods_comes_first_and_short_runs_before_long_ones():
    order = [(run["seed"], run["max_epochs"]) for run in runs(AXES).runs]
    assert order == sorted(order)
    assert [run["mix_mode"] for run in runs(AXES).runs[:6]] == ["mixup"] * 2 + ["cutmix"] * 2 + ["vanilla"] * 2


def test_the_order_of_the_options_changes_nothing():
    assert runs(dict(reversed(AXES.items()))) == runs(AXES)
    keys = {"model.mix_mode": "mix_mode", "model.alpha": "alpha", "train_cfg.max_epochs": "max_epochs"}
    by_key = {key: AXES[name] for key, name in keys.items()} | {"randomness.seed": [0, 1]}
    assert runs(by_key) == runs(AXES)


def test_excluded_are_those_that_have_all_values_of_an_item():
    found = runs(AXES, exclude=[{"mix_mode": "vanilla", "alpha": 1.0}, {"mix_mode": ["mixup", "cutmix"], "seed": [1]}])
    expected = [
        (mode, alpha, epochs, seed)
        for mode, alpha, epochs, seed in itertools.product(*AXES.values())
        if not (mode == "vanilla" and alpha == 1) and not (mode != "vanilla" and seed == 1)
    ]
    assert sorted(tuples(found)) == sorted(expected)
    assert found.excluded == 4 + 8
    assert found.count == "12 runs = 3 mix_mode x 2 alpha x 2 max_epochs x 2 seed, less 12 excluded"


def test_lists_go_with_as_many_methods():
    axes = {"mix_mode": [["mixup", "cutmix"], "cutmix"], "alpha": [[0.1, 1], None], "mix_prob": [[0.4, 0.6], None]}
    found = runs(axes)
    assert tuples(found, axes) == [
        (["mixup", "cutmix"], [0.1, 1.0], [0.4, 0.6]),
        (["mixup", "cutmix"], [0.1, 1.0], None),
        (["mixup", "cutmix"], None, [0.4, 0.6]),
        (["mixup", "cutmix"], None, None),
        ("cutmix", None, None),
    ]
    assert found.unfit == 3
    assert found.count.endswith("less 3 with a list of another length than mix_mode's")


def test_alphas_by_method_and_by_network():
    alpha = {"mixup": 1, "cutmix": [0.2, 1], "smoothmix": {"r18": 0.5, "rx50": [0.2, 0.3]}}
    axes = {"backbone": ["r18", "rx50"], "mix_mode": ["vanilla", *alpha], "alpha": alpha, "seed": [0, 1]}
    found = runs(axes)
    assert [(r["backbone"], r["mix_mode"], r.get("alpha")) for r in found.runs if r["seed"] == 1] == [
        ("r18", "vanilla", None),
        ("r18", "mixup", 1),
        ("r18", "cutmix", 0.2),
        ("r18", "cutmix", 1),
        ("r18", "smoothmix", 0.5),
        ("rx50", "vanilla", None),
        ("rx50", "mixup", 1),
        ("rx50", "cutmix", 0.2),
        ("rx50", "cutmix", 1),
        ("rx50", "smoothmix", 0.2),
        ("rx50", "smoothmix", 0.3),
    ]
    assert all("alpha" not in run for run in found.runs if run["mix_mode"] == "vanilla")
    assert found.count == "22 runs = 11 (backbone, mix_mode, alpha) x 2 seed"
    fewer = runs({**axes, "mix_mode": ["vanilla", "mixup"]})
    assert len(fewer.runs) == 8, "alphas of methods that are not asked for do no harm"


@pytest.mark.parametrize(
    ("axes", "exclude", "message"),
    [
        ({"mix_mode": ["mixpu"]}, [], "there is no mixing method 'mixpu'; did you mean 'mixup'?"),
        ({"mix_mode": [["mixup", "mixup"]]}, [], "list of different ones"),
        ({"mix_mode": []}, [], "mix_mode has no values"),
        ({"mix_mode": "mixup"}, [], "takes a list of values, got 'mixup'"),
        ({"alpha": [float("nan")]}, [], "alpha takes finite numbers, got nan"),
        ({"alpha": [float("inf")]}, [], "alpha takes finite numbers, got inf"),
        ({"alpha": ["big"]}, [], "alpha takes finite numbers, got 'big'"),
        ({"alpha": [1, 1.0]}, [], "alpha has 1.0 twice"),
        ({"seed": [0.5]}, [], "seed takes whole numbers, got 0.5"),
        ({"seed": [True]}, [], "seed takes whole numbers, got True"),
        ({"backbone": ["../r18"]}, [], "backbone takes what a config's name begins with"),
        ({"alhpa": [1]}, [], "'alhpa' is no axis, and no key of a config; did you mean 'alpha'?"),
        ({"work_dir": ["a", "b"]}, [], "'work_dir' is no key that the runs of a grid can differ in"),
        ({"custom_hooks.0.momentum": [1]}, [], "a list is given whole, under its own key"),
        ({"seed": [0], "randomness.seed": [1]}, [], "seed is given twice"),
        ({"model.head": [{"type": "X"}], "model.head.num_classes": [3]}, [], "one is part of the other"),
        ({"alpha": {"mixup": 1}}, [], "alpha is given by method, and mix_mode is no axis"),
        ({"mix_mode": ["mixup"], "alpha": {"mixup": {"r18": 1}}}, [], "alpha is given by network"),
        ({"mix_mode": ["mixup"], "alpha": {"mixpu": 1}}, [], "there is no mixing method 'mixpu'"),
        ({"mix_mode": ["mixup"], "seed": {"mixup": [1]}}, [], "the axis seed takes a list of values"),
        ({"mix_mode": ["mixup"]}, [{"seed": 1}], "cannot exclude by seed: the axes of this grid are mix_mode"),
        ({"mix_mode": ["mixup"]}, [{"mix_mode": "cutmix"}], "cannot exclude mix_mode 'cutmix'"),
        ({"mix_mode": ["mixup"]}, ["mixup"], "what is excluded is a dict of values by axis"),
        ({"mix_mode": ["mixup"]}, [{"mix_mode": "mixup"}], "no run is left that has mix_mode mixup"),
        ({"mix_mode": [["mixup", "cutmix"], "cutmix"], "mix_prob": [[0.4, 0.6]]}, [], "'none' goes with any"),
        ({"mix_mode": ["mixup"], "alpha": [[0.1, 1]]}, [], "no run is left that has mix_mode mixup"),
    ],
)
def test_what_is_wrong_is_named(axes, exclude, message):
    with pytest.raises(UserError) as error:
        runs(axes, exclude=exclude)
    assert message in str(error.value)


def test_an_exclusion_that_nothing_has_is_a_mistake():
    axes = {"mix_mode": [["mixup", "cutmix"], "vanilla"], "alpha": {"mixup+cutmix": [[0.1, 1], 1]}}
    with pytest.raises(UserError, match="no combination has what is to be excluded: mix_mode=vanilla alpha=1"):
        runs(axes, exclude=[{"mix_mode": "vanilla", "alpha": 1}])


def test_a_network_without_an_alpha_is_named():
    axes = {"backbone": ["r18", "rx50"], "mix_mode": ["mixup"], "alpha": {"mixup": {"r18": 1}}}
    with pytest.raises(UserError, match="alpha of mixup has no value for the network rx50; it has r18"):
        runs(axes)


def test_ten_million_combinations_are_refused_before_they_are_made():
    axes = {"seed": list(range(1000)), "max_epochs": list(range(1, 101)), "batch_size": list(range(1, 101))}
    with pytest.raises(UserError, match="10,000,000 combinations are more than a study can have, 10,000"):
        runs(axes)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-1", -1),
        ("0.10", 0.1),
        ("1e-3", 0.001),
        ("1e+3", 1000.0),
        ("None", None),
        ("TRUE", True),
        ("mixup+cutmix+none", ["mixup", "cutmix", None]),
        ("0.1+1", [0.1, 1]),
        ("[16, 32]", [16, 32]),
        ("{'type': 'SGD'}", {"type": "SGD"}),
        ("+", "+"),
    ],
)
def test_words_of_a_command_line(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_a_broken_list_is_named():
    with pytest.raises(UserError, match=r"'\[1, ' is neither a list nor a dict"):
        value_of("[1, ")


def test_two_keys_with_the_same_last_part_are_told_apart():
    keys = ("model.head.loss.type", "model.guide.type")
    grid = grid_of(BASE, {key: ["a"] for key in keys})
    assert {axis.short for axis in grid.axes} == set(keys)
    assert axis_of(keys[0]).short == "type"
