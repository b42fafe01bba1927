"""WRN-28-10 on CIFAR-10 with Cutout of 16 pixels, 200 epochs: a row of ResizeMix's CIFAR-10 table.

Published top-1: 96.90 (ResizeMix's README; no seeds, no spread, best or last epoch not said). The figure is that of
Cutout's own paper, whose length this is. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./wrn28_10_baseline.py"
model = dict(mix_mode="cutout", mix_args=dict(cutout=dict(length=16)))
