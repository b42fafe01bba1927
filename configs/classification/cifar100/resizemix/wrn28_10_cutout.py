"""WRN-28-10 on CIFAR-100 with Cutout of 8 pixels, 200 epochs: a row of ResizeMix's CIFAR-100 table.

Published top-1: 81.59 (ResizeMix's README; no seeds, no spread, best or last epoch not said). The figure is that of
Cutout's own paper, whose length this is. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./wrn28_10_baseline.py"
model = dict(mix_mode="cutout", mix_args=dict(cutout=dict(length=8)))
