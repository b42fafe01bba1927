#!/usr/bin/env python
"""Rebuild the batch of a step that was no number: ``python tools/replay_step.py KEY.json``; ``--help`` says more."""

import sys

from openmix.commands import run_command

if __name__ == "__main__":
    sys.exit(run_command("replay", prog="tools/replay_step.py"))
