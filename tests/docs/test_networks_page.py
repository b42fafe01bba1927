"""docs/networks.md is what docs/make_networks.py counts, for every backbone that there is."""

import importlib.util
from pathlib import Path

from openmix.models import backbones

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date_and_names_every_backbone():
    spec = importlib.util.spec_from_file_location("make_networks", DOCS / "make_networks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "networks.md").read_text()
    assert page == module.make_page(), "the page is out of date: run python docs/make_networks.py"
    assert [name for name in backbones.__all__ if f"type='{name}'" not in page and f"`{name}`" not in page] == []
