#!/usr/bin/env python
"""Probe a checkpoint: ``python tools/probe.py CONFIG CHECKPOINT [options]``; ``--help`` lists them."""

import sys

from openmix.commands import run_script

if __name__ == "__main__":
    sys.exit(run_script("probe", prog="tools/probe.py"))
