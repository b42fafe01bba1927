#!/usr/bin/env python
"""Make the tables of our own runs, in README.md and docs, anew from docs/benchmarks: ``python docs/make_tables.py``.

What stands between ``<!-- table: NAME ... -->`` and ``<!-- end -->`` is replaced; ``openmix.results.benchmark_tables``
says what a mark may ask for. With ``--check`` nothing is written, and the exit code is 1 where a table is stale.
"""

import argparse
import sys
from pathlib import Path

from openmix.engine.files import write_atomically
from openmix.errors import UserError
from openmix.results.benchmark_tables import fill

__all__ = ["main", "stale_pages"]

ROOT = Path(__file__).resolve().parent.parent


def stale_pages(root: Path = ROOT) -> dict[Path, str]:
    """Return the pages whose tables are not those of the records, with what they should say.

    Raises:
        UserError: a mark asks for what is not there; the message names the page.
    """
    stale = {}
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        try:
            made = fill(text, root / "docs" / "benchmarks")
        except UserError as error:
            raise UserError(f"{page.relative_to(root)}: {error}") from error
        if made != text:
            stale[page] = made
    return stale


def main() -> int:
    """Write the pages that are stale, or name them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a table is stale")
    check = parser.parse_args().check
    try:
        stale = stale_pages()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for page, text in stale.items():
        if not check:
            write_atomically(page, lambda beside, text=text: beside.write_text(text, encoding="utf-8"))
        print(f"{page.relative_to(ROOT)}: {'its tables are stale: run docs/make_tables.py' if check else 'made anew'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
