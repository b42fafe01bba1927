#!/usr/bin/env python
"""Say where a training step's time goes: ``python tools/profile_step.py CONFIG [options]``; ``--help`` lists them."""

import sys

from openmix.commands import run_script

if __name__ == "__main__":
    sys.exit(run_script("profile", prog="tools/profile_step.py"))
