#!/usr/bin/env python
"""Draw a mixed batch: ``python tools/preview_batch.py CONFIG... --out FILE.png``; ``--help`` lists the options."""

import sys

from openmix.commands import run_command

if __name__ == "__main__":
    sys.exit(run_command("preview", prog="tools/preview_batch.py"))
