#!/usr/bin/env python
"""Write smaller copies of a data set: ``python tools/resize_dataset.py SRC DST --size 160 352``, or ``--help``."""

import sys

from openmix.commands import run_command

if __name__ == "__main__":
    sys.exit(run_command("resize", prog="tools/resize_dataset.py"))
