#!/usr/bin/env python
"""Write configs and scripts of a study: ``python tools/auto_train_mixups.py [BASE] --mix-mode ... --out DIR``."""

import sys

from openmix.commands import run_command

if __name__ == "__main__":
    sys.exit(run_command("_grid_make", prog="tools/auto_train_mixups.py"))
