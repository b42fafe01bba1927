"""docs/methods.md is what docs/make_methods.py makes of the catalogue as it is."""

import importlib.util
import inspect
import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

import openmix
from openmix.mixers.catalog import get_method

DOCS = Path(__file__).parents[2] / "docs"
ADVICE = "the page is out of date: run python docs/make_methods.py --photos DIR"


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("make_methods", DOCS / "make_methods.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page():
    return (DOCS / "methods.md").read_text()


def sections(page):
    return {part.split("\n")[0]: part for part in page.split("\n## ")[1:]}


def without_pictures_and_costs(page):
    return [line for line in page.split("\n") if line and not line.startswith(("![", "| cost"))]


def test_page_is_up_to_date(generator, page):
    assert without_pictures_and_costs(page) == without_pictures_and_costs(generator.make_page({}, ())), ADVICE


def test_every_method_has_a_section_with_its_signature(page):
    """Read from the page's own text, not by the generator's code."""
    found = sections(page)
    methods = [get_method(name) for name in openmix.list_mixers()]
    assert list(found) == [method.title for method in methods], ADVICE
    for method in methods:
        text = found[method.title]
        defaults = re.search(r"^\| defaults \| (.*) \|$", text, re.M).group(1)
        own = {
            name: p.default
            for name, p in inspect.signature(type(openmix.build_mixer(method.name))).parameters.items()
            if name != "preset"
        }
        assert re.findall(r"`(\w+)=(.*?)`", defaults) == [(k, repr(v)) for k, v in own.items()], ADVICE
        presets = dict(re.findall(r"^\| preset `(\w+)` \| (.*) \|$", text, re.M))
        assert presets.keys() == method.presets.keys()
        for name, changed in presets.items():
            given = {k: repr(v) for k, v in openmix.build_mixer(method.name, preset=name).hyper.items()}
            assert dict(re.findall(r"`(\w+)=(.*?)`", changed)) == given


def test_links_lead_somewhere(page):
    anchors = {f"#{title.lower()}" for title in sections(page)}
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert targets
    for target in targets:
        known = target in anchors or target.startswith("https://") or (DOCS / target).is_file()
        assert known, f"{target} is linked and does not exist"


def test_pictures_are_small_and_of_methods(page):
    files = {path.name: path for path in (DOCS / "methods").iterdir()}
    methods = [get_method(name) for name in openmix.list_mixers()]
    pictured = [m.name for m in methods if m.kind == "input" and set(m.needs) <= {"saliency"}]
    assert sorted(files) == [f"{name}.jpg" for name in pictured], ADVICE
    assert sum(path.stat().st_size for path in files.values()) < 600_000
    for name, path in files.items():
        assert f"](methods/{name})" in page
        with Image.open(path) as image:
            width, height = image.size
        assert 400 < width < 900 and 150 < height < 400


def test_costs_are_read_leniently(generator, tmp_path):
    path = tmp_path / "mixers.json"
    assert generator.read_costs(path) == {}
    rows = [
        {"name": "torch.lerp(x, x[partner], lam)", "ratio_to_lerp": 1.0},
        {"name": "mixup, one draw a batch", "ratio_to_lerp": 1.04},
        {"name": "mixup", "ratio_to_lerp": 2},
        {"name": "cutmix (per_sample=True)", "ratio_to_lerp": 1.2},
        {"name": "cutmix"},
        {"another": "format"},
    ]
    path.write_text(json.dumps({"rows": rows}))
    assert generator.read_costs(path) == {
        "mixup": [("one draw a batch", 1.04), ("", 2.0)],
        "cutmix": [("per_sample=True", 1.2)],
    }


def test_costs_and_pictures_appear(generator):
    page = generator.make_page({"mixup": [("one draw a batch", 1.042), ("", 2.0)]}, ["mixup"])
    text = sections(page)["MixUp"]
    assert "| cost in lerps | 1.04 (one draw a batch), 2.00 |" in text
    assert "](methods/mixup.jpg)" in text
    assert "methods/cutmix.jpg" not in page
    assert "| cost in lerps | - |" in sections(page)["CutMix"]


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Blend it.  Then\nmore.\n\nArgs:", "Blend it."),
        ("Blend ``lam * x``, e.g. so: 1.5 times. `A` more.", "Blend `lam * x`, e.g. so: 1.5 times."),
        ("See :func:`~openmix.mixup` for\nthis", "See `openmix.mixup` for this"),
    ],
)
def test_first_sentence(generator, docstring, sentence):
    function = type("Function", (), {"__doc__": docstring})
    assert generator.first_sentence(type("Entry", (), {"function": function})) == sentence
