"""Shake-Shake 26 2x96d on CIFAR-100 with Cutout of 8 pixels, 1800 epochs: a row of ResizeMix's CIFAR-100 table.

Published top-1: 84.0 (ResizeMix's README; no seeds, no spread, best or last epoch not said). The figure is that of
Cutout's own paper, whose length this is. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./ss26_2x96d_baseline.py"
model = dict(mix_mode="cutout", mix_args=dict(cutout=dict(length=8)))
