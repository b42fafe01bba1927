#!/usr/bin/env python
"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT [options]``; ``--help`` lists them."""

import sys

from openmix.commands import run_script

if __name__ == "__main__":
    sys.exit(run_script("test", prog="tools/test.py"))
