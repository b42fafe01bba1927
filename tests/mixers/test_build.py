"""Finding a mixer by name, and what is said to somebody who mistypes."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest
import torch

import openmix
import openmix.mixers

KINDS = {
    "vanilla": "input",
    "mixup": "input",
    "cutmix": "input",
    "resizemix": "input",
    "fmix": "input",
    "gridmix": "input",
    "smoothmix": "input",
    "starmix": "input",
    "mosaic": "input",
    "ricap": "input",
    "cutout": "input",
    "randomerasing": "input",
    "manifoldmix": "feature",
}
TITLES = [
    "MixUp", "CutMix", "ResizeMix", "ManifoldMix", "Vanilla", "FMix", "GridMix", "SmoothMix", "StarMix", "Mosaic",
    "RICAP", "Cutout", "RandomErasing",
]  # fmt: skip


def test_list_is_sorted_and_complete():
    names = openmix.list_mixers()
    assert isinstance(names, list)
    assert names == sorted(names) and len(set(names)) == len(names)
    assert set(KINDS) <= set(names)


def test_the_list_is_a_copy():
    openmix.list_mixers().clear()
    assert openmix.list_mixers()


@pytest.mark.parametrize("name", openmix.list_mixers())
def test_kind_and_needs(name):
    mixer = openmix.build_mixer(name)
    assert mixer.kind in {"input", "feature", "label", "learned"}
    assert isinstance(mixer.needs, tuple) and all(isinstance(need, str) for need in mixer.needs)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_known_ones(name, kind):
    assert (openmix.build_mixer(name).kind, openmix.build_mixer(name).needs) == (kind, ())


@pytest.mark.parametrize("name", TITLES)
def test_classes_are_reached_from_the_package(name):
    mixer = getattr(openmix, name)()
    assert type(mixer) is type(openmix.build_mixer(name.lower()))
    assert type(mixer).__name__ == name
    assert name in dir(openmix)


def test_functions_stay_functions_when_their_files_are_imported():
    """A function and its file share a name, so an import may put the module in the function's place."""
    for module in pkgutil.iter_modules(openmix.mixers.__path__):
        importlib.import_module(f"openmix.mixers.{module.name}")
    from openmix.mixers import cutmix, mixup, resizemix, vanilla

    assert all(callable(f) for f in (cutmix, mixup, resizemix, vanilla))
    assert all(callable(getattr(openmix.mixers, name)) for name in KINDS)


def test_feature_mixer_says_where_it_works(make_batch):
    images, labels = make_batch()
    with pytest.raises(TypeError, match=r"MixUpClassification|config|task"):
        openmix.build_mixer("manifoldmix", alpha=2.0)(images, labels)
    with pytest.raises(TypeError, match=r"MixUpClassification|config|task"):
        openmix.ManifoldMix()(images, labels, generator=torch.Generator())


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: openmix.build_mixer("cutmx"), ["cutmx", "cutmix"]),
        (lambda: openmix.build_mixer("ResizMix"), ["ResizMix", "resizemix"]),
        (lambda: openmix.build_mixer("nothing-like-it"), ["nothing-like-it", "mixup"]),
        (lambda: openmix.build_mixer("cutmix", alfa=1.0), ["alfa", "alpha"]),
        (lambda: openmix.build_mixer("mixup", persample=True), ["persample", "per_sample"]),
        (lambda: openmix.build_mixer("resizemix", scop=(0.1, 0.8)), ["scop", "scope"]),
        (lambda: openmix.build_mixer("resizemix", placment="clip"), ["placment", "placement"]),
        (lambda: openmix.build_mixer("vanilla", alpha=1.0), ["vanilla", "alpha"]),
        (lambda: openmix.build_mixer("manifoldmix", alhpa=1.0), ["alhpa", "alpha"]),
        (lambda: openmix.CutMix(alfa=1.0), ["alfa", "alpha"]),
        (lambda: openmix.build_mixer("smothmix"), ["smothmix", "smoothmix"]),
        (lambda: openmix.build_mixer("random_erasing"), ["random_erasing", "randomerasing"]),
        (lambda: openmix.build_mixer("fmix", decay=3.0), ["decay", "decay_power"]),
        (lambda: openmix.build_mixer("gridmix", n_hole=(2, 6)), ["n_hole", "n_holes"]),
        (lambda: openmix.build_mixer("cutout", lenght=8), ["lenght", "length"]),
        (lambda: openmix.RandomErasing(probabilty=1.0), ["probabilty", "probability"]),
        (lambda: openmix.StarMix(kk=3), ["starmix", "kk"]),
    ],
)
def test_unknown_names_name_the_nearest(call, said):
    with pytest.raises(ValueError) as error:
        call()
    for word in said:
        assert word in str(error.value)


@pytest.mark.parametrize("name", ["images", "labels", "generator"])
def test_what_a_call_takes_is_no_hyper_parameter(name):
    with pytest.raises(ValueError, match=name):
        openmix.build_mixer("cutmix", **{name: None})


WRONG = [
    ("mixup", {"alpha": 0}),
    ("mixup", {"alpha": -0.5}),
    ("mixup", {"alpha": float("nan")}),
    ("cutmix", {"alpha": 0.0}),
    ("cutmix", {"alpha": -1}),
    ("manifoldmix", {"alpha": -1}),
    ("resizemix", {"alpha": 0.0}),
    ("resizemix", {"scope": (0.8, 0.1)}),
    ("resizemix", {"scope": (0.0, 0.8)}),
    ("resizemix", {"scope": (-0.1, 0.8)}),
    ("resizemix", {"scope": (0.1, 1.2)}),
    ("resizemix", {"scope": (0.1, 0.5, 0.8)}),
    ("resizemix", {"placement": "middle"}),
    ("resizemix", {"scope_of": "ratio"}),
    ("resizemix", {"interpolation": "bicubic"}),
    ("fmix", {"alpha": 0.0}),
    ("fmix", {"alpha": float("inf")}),
    ("fmix", {"decay_power": 0.0}),
    ("fmix", {"decay_power": -3.0}),
    ("fmix", {"decay_power": float("nan")}),
    ("fmix", {"max_soft": -0.1}),
    ("fmix", {"max_soft": 1.5}),
    ("fmix", {"max_soft": float("nan")}),
    ("gridmix", {"alpha": 0.0}),
    ("gridmix", {"alpha": -1.0}),
    ("gridmix", {"alpha": (0.7, 0.4)}),
    ("gridmix", {"alpha": (-0.1, 0.4)}),
    ("gridmix", {"alpha": (0.4, 1.1)}),
    ("gridmix", {"alpha": (0.4, 0.5, 0.7)}),
    ("gridmix", {"n_holes": (0, 6)}),
    ("gridmix", {"n_holes": (6, 2)}),
    ("gridmix", {"n_holes": (2, 4, 6)}),
    ("gridmix", {"hole_aspect_ratio": (0.0, 1.0)}),
    ("gridmix", {"hole_aspect_ratio": (2.0, 1.0)}),
    ("gridmix", {"cut_area_ratio": (0.0, 1.0)}),
    ("gridmix", {"cut_area_ratio": (1.0, 0.5)}),
    ("gridmix", {"cut_area_ratio": (0.5, 1.5)}),
    ("gridmix", {"cut_aspect_ratio": (-0.5, 2.0)}),
    ("gridmix", {"cut_aspect_ratio": (2.0, 0.5)}),
    ("smoothmix", {"sigma": (0.0, 0.5)}),
    ("smoothmix", {"sigma": (0.5, 0.25)}),
    ("smoothmix", {"sigma": (0.25,)}),
    ("smoothmix", {"sigma": (0.25, float("nan"))}),
    ("starmix", {"alpha": 0.0}),
    ("starmix", {"alpha": -1.0}),
    ("starmix", {"k": 1}),
    ("starmix", {"k": -3}),
    ("starmix", {"k": 2.5}),
    ("starmix", {"k": True}),
    ("mosaic", {"scope": (-0.1, 0.75)}),
    ("mosaic", {"scope": (0.75, 0.25)}),
    ("mosaic", {"scope": (0.25, 1.25)}),
    ("mosaic", {"scope": (0.25, 0.5, 0.75)}),
    ("ricap", {"alpha": 0.0}),
    ("ricap", {"alpha": -0.3}),
    ("cutout", {"length": 0}),
    ("cutout", {"length": -16}),
    ("cutout", {"length": 8.5}),
    ("randomerasing", {"probability": -0.1}),
    ("randomerasing", {"probability": 1.1}),
    ("randomerasing", {"probability": float("nan")}),
    ("randomerasing", {"area": (-0.1, 0.4)}),
    ("randomerasing", {"area": (0.4, 0.02)}),
    ("randomerasing", {"area": (0.02, 1.2)}),
    ("randomerasing", {"area": (0.02, 0.1, 0.4)}),
    ("randomerasing", {"aspect": (0.0, 3.0)}),
    ("randomerasing", {"aspect": (-0.3, 3.0)}),
    ("randomerasing", {"aspect": (3.0, 0.3)}),
]


@pytest.mark.parametrize(("name", "hyper"), WRONG)
def test_wrong_values_are_named_when_it_is_built(name, hyper):
    (parameter,) = hyper
    with pytest.raises(ValueError, match=rf"\b{parameter}\b"):
        openmix.build_mixer(name, **hyper)
    with pytest.raises(ValueError, match=rf"\b{parameter}\b"):
        type(openmix.build_mixer(name))(**hyper)


@pytest.mark.parametrize(("name", "hyper"), [w for w in WRONG if w[0] != "manifoldmix"])
def test_wrong_values_are_named_by_the_function(make_batch, name, hyper):
    (parameter,) = hyper
    images, labels = make_batch()
    with pytest.raises(ValueError, match=rf"\b{parameter}\b"):
        getattr(openmix.mixers, name)(images, labels, **hyper)


@pytest.mark.parametrize("scope", [(0.1, 0.8), [0.1, 0.8], (0.3, 1.0), (0.5, 0.5), (0.2, 1)])
def test_right_scopes_are_taken(make_batch, scope):
    images, labels = make_batch()
    openmix.build_mixer("resizemix", scope=scope)(images, labels)


@pytest.mark.parametrize(
    ("name", "hyper"),
    [
        ("resizemix", {"scope_of": "lam", "scope": [0.2, 1.0]}),
        ("resizemix", {"interpolation": "bilinear"}),
        ("fmix", {"alpha": 1, "decay_power": 2, "max_soft": 0}),
        ("fmix", {"max_soft": 0.5, "reformulate": True}),
        ("gridmix", {"alpha": 1}),
        ("gridmix", {"alpha": [0.3, 0.3], "n_holes": [1, 1]}),
        ("gridmix", {"cut_area_ratio": [1, 1], "cut_aspect_ratio": [0.1, 10], "hole_aspect_ratio": (3, 3)}),
        ("smoothmix", {"sigma": [1, 3]}),
        ("starmix", {"k": 8, "alpha": 2}),
        ("mosaic", {"scope": [0.5, 0.5]}),
        ("mosaic", {"scope": (0.001, 1)}),
        ("ricap", {"alpha": 2}),
        ("cutout", {"length": 1000, "fill": 1}),
        ("randomerasing", {"probability": 0}),
        ("randomerasing", {"probability": 1, "area": [0.5, 1], "aspect": [1, 1], "fill": -3}),
    ],
    ids=str,
)
def test_right_values_are_taken_in_any_spelling(make_batch, name, hyper):
    """Whole numbers for fractions, and lists for tuples, as a config file has them."""
    images, labels = make_batch()
    for per_sample in (False, True):
        mixed = openmix.build_mixer(name, per_sample=per_sample, **hyper)(images, labels)
        assert bool(mixed.images.isfinite().all())


@pytest.mark.parametrize("name", ["resizemix", "cutmix", "mixup"])
def test_unknown_preset_is_named(name):
    with pytest.raises(ValueError, match="openmixupp") as error:
        openmix.build_mixer(name, preset="openmixupp")
    if name == "resizemix":
        assert "'openmixup'" in str(error.value)


def test_wrong_values_beside_a_preset_are_named():
    with pytest.raises(ValueError, match="scope"):
        openmix.build_mixer("resizemix", preset="openmixup", scope=(2.0, 3.0))


@pytest.mark.parametrize(
    ("mixer", "shown"),
    [
        (lambda: openmix.build_mixer("cutmix", alpha=0.3), ["CutMix", "alpha=0.3", "per_sample=False"]),
        (lambda: openmix.MixUp(per_sample=True), ["MixUp", "alpha=1.0", "per_sample=True"]),
        (lambda: openmix.ResizeMix(scope=(0.2, 0.6)), ["ResizeMix", "scope=(0.2, 0.6)", "placement='inside'"]),
        (lambda: openmix.build_mixer("resizemix", preset="openmixup"), ["ResizeMix", "placement='clip'"]),
        (lambda: openmix.ManifoldMix(), ["ManifoldMix", "alpha="]),
        (lambda: openmix.Vanilla(), ["Vanilla"]),
        (lambda: openmix.build_mixer("resizemix", preset="mmpretrain"), ["scope_of='lam'", "interpolation='bilinear'"]),
        (lambda: openmix.build_mixer("gridmix", preset="openmixup"), ["GridMix", "alpha=1.0", "wrap=True"]),
        (lambda: openmix.build_mixer("gridmix", preset="openmixup", alpha=0.2), ["alpha=0.2", "wrap=True"]),
        (lambda: openmix.build_mixer("smoothmix", preset="openmixup"), ["SmoothMix", "inverted_labels=True"]),
        (lambda: openmix.RICAP(), ["RICAP", "alpha=0.3"]),
    ],
)
def test_repr_shows_the_hyper_parameters(mixer, shown):
    for word in shown:
        assert word in repr(mixer())


@pytest.mark.parametrize(
    ("name", "defaults"),
    [
        ("vanilla", {}),
        ("mixup", {"alpha": 1.0, "per_sample": False}),
        ("cutmix", {"alpha": 1.0, "per_sample": False, "tries": 1}),
        (
            "resizemix",
            {
                "scope": (0.1, 0.8),
                "per_sample": False,
                "per_sample_box": True,
                "placement": "inside",
                "scope_of": "tau",
                "use_alpha": False,
                "interpolation": "nearest",
                "alpha": 1.0,
            },
        ),
        (
            "fmix",
            {"alpha": 1.0, "decay_power": 3.0, "max_soft": 0.0, "reformulate": False, "per_sample": False, "tries": 1},
        ),
        (
            "gridmix",
            {
                "alpha": (0.4, 0.7),
                "n_holes": (2, 6),
                "hole_aspect_ratio": 1.0,
                "cut_area_ratio": (0.5, 1.0),
                "cut_aspect_ratio": (0.5, 2.0),
                "wrap": False,
                "per_sample": False,
            },
        ),
        ("smoothmix", {"sigma": (0.25, 0.5), "inverted_labels": False, "per_sample": False}),
        ("starmix", {"alpha": 1.0, "k": 3, "per_sample": False}),
        ("mosaic", {"scope": (0.25, 0.75), "per_sample": True}),
        ("ricap", {"alpha": 0.3, "per_sample": False}),
        ("cutout", {"length": 16, "fill": 0.0, "per_sample": True}),
        (
            "randomerasing",
            {"probability": 0.5, "area": (0.02, 0.4), "aspect": (0.3, 1 / 0.3), "fill": 0.0, "per_sample": True},
        ),
    ],
)
def test_defaults_are_the_authors(name, defaults):
    parameters = inspect.signature(getattr(openmix.mixers, name)).parameters
    outside = {"images", "labels", "generator"}
    assert {n: p.default for n, p in parameters.items() if n not in outside} == defaults


@pytest.mark.parametrize(
    ("name", "presets"),
    [
        ("cutmix", {"openmixup": {"tries": 10}}),
        ("fmix", {"openmixup": {"tries": 10}}),
        ("gridmix", {"openmixup": {"alpha": 1.0, "wrap": True}}),
        ("smoothmix", {"openmixup": {"inverted_labels": True}}),
        (
            "resizemix",
            {
                "openmixup": {"placement": "clip", "per_sample_box": False},
                "mmpretrain": {
                    "placement": "clip",
                    "per_sample_box": False,
                    "scope_of": "lam",
                    "interpolation": "bilinear",
                },
            },
        ),
    ],
)
def test_presets_are_the_ports(name, presets):
    assert openmix.build_mixer(name).method.presets == presets


def test_mixing_costs_no_heavy_import():
    script = """
import sys, torch, openmix
mixed = openmix.build_mixer("resizemix")(torch.zeros(2, 3, 32, 32), torch.arange(2))
openmix.mix_cross_entropy(torch.zeros(2, 5), mixed.target)
print(sorted({"mmengine", "torchvision", "timm", "nvidia.dali", "mmcv", "rich"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "hyper", "hint"),
    [
        ("manifoldmix", {"layer": (0, 3)}, "layers=(0, 1, 2)"),
        ("fmix", {"size": (32, 32)}, "leave it out"),
    ],
)
def test_other_code_bases_arguments_are_known(name, hyper, hint):
    """Where the nearest name would mean something else, or nothing takes its place."""
    with pytest.raises(ValueError, match=re.escape(hint)):
        openmix.build_mixer(name, **hyper)


class TestNeeds:
    """What a user hands over in place of what a method needs, or has it computed on."""

    images, labels = torch.rand(3, 3, 16, 16), torch.tensor([0, 2, 1])

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (None, "saliency must be a floating point tensor with an entry for each image, got NoneType"),
            ([[1.0]], "got list"),
            (torch.ones(3, 16, 16, dtype=torch.int64), "got torch.int64"),
            (torch.ones(3, 0, 16), r"\(3, 0, 16\)"),
            (torch.ones(2, 16, 16), "must be of the batch's 3 images, on cpu; got 2 on cpu"),
            (torch.ones(3, 16, 16, device="meta"), "got 3 on meta"),
            (-torch.ones(3, 16, 16), "saliency must be finite and at least 0, got values from -1.0 to -1.0"),
            (torch.full((3, 16, 16), float("nan")), "got values from nan to nan"),
            (torch.full((3, 16, 16), float("inf")), "to inf"),
        ],
    )
    @pytest.mark.parametrize("name", ["rmix", "puzzlemix", "comixup", "guidedmix"])
    def test_what_is_no_saliency(self, name, value, message):
        with pytest.raises(ValueError, match=message):
            openmix.build_mixer(name)(self.images, self.labels, saliency=value)

    def test_activations_may_be_negative_but_not_infinite(self):
        mixer = openmix.SnapMix()
        mixer(self.images, self.labels, cam=-torch.rand(3, 4, 4))
        with pytest.raises(ValueError, match="cam must be finite, got"):
            mixer(self.images, self.labels, cam=torch.full((3, 4, 4), float("inf")))

    def test_images_are_looked_at_before_the_model_is(self):
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))
        for images, labels, message in (
            (self.images.mul(255).to(torch.uint8), self.labels, "images must be floating"),
            (self.images, self.labels.int(), "labels must be int64"),
        ):
            with pytest.raises(ValueError, match=message):
                openmix.RMix()(images, labels, model=net)

    @pytest.mark.parametrize("training", [True, False])
    def test_the_mode_is_the_authors_unless_another_is_asked_for(self, training):
        """R-Mix's pass moves BatchNorm's statistics, Puzzle Mix's does not; either may be told."""
        for name, asked, moves in (
            ("rmix", None, True), ("puzzlemix", None, False), ("rmix", "eval", False), ("puzzlemix", "train", True)
        ):  # fmt: skip
            net = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(768, 3)).train(
                training
            )
            for mixer in (openmix.build_mixer(name), openmix.Choice([openmix.build_mixer(name)])):
                before = net[0].running_mean.clone()
                mixer(self.images, self.labels, model=net, guide_pass=asked)
                assert torch.equal(before, net[0].running_mean) is not moves
                assert net.training is training

    def test_a_composition_runs_in_the_mode_of_any(self):
        assert openmix.Choice([openmix.RMix(), openmix.PuzzleMix()]).guide_pass == "train"
        assert openmix.Choice([openmix.PuzzleMix(), openmix.CutMix()]).guide_pass == "eval"

    @pytest.mark.parametrize(("name", "hyper"), [("transmix", {"ratio": 2.0}), ("rmix", {"alpha": -1.0})])
    def test_wrong_values_are_told_when_it_is_built(self, name, hyper):
        with pytest.raises(ValueError, match=next(iter(hyper))):
            openmix.build_mixer(name, **hyper)
