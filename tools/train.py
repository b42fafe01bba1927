#!/usr/bin/env python
"""Train from a config file: ``python tools/train.py CONFIG [options]``; ``--help`` lists them."""

import sys

from openmix.commands import run_script

if __name__ == "__main__":
    sys.exit(run_script("train", prog="tools/train.py"))
