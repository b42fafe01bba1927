"""Every promise of docs/reliability.md names tests, and those are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def promises() -> dict[int, str]:
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    return {int(number): tests for number, _, tests in rows}


def test_there_are_twelve():
    assert list(promises()) == list(range(1, 13))


def test_the_tests_are_there():
    named = re.findall(r"`([\w/]*test_\w+\.py(?:::\w+)?)`", PAGE)
    assert len(named) > 20
    for name in named:
        file, _, part = name.partition("::")

        found = [path for path in ROOT.glob(f"tests/**/{Path(file).name}") if str(path).endswith(file)]
        assert len(found) == 1, name
        assert not part or re.search(rf"^(class|def) {part}\b", found[0].read_text(), re.MULTILINE), name
