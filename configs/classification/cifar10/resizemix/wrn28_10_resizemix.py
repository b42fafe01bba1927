"""WRN-28-10 on CIFAR-10 with ResizeMix, 200 epochs: a row of ResizeMix's CIFAR-10 table.

Published top-1: 97.60 (ResizeMix's README; no seeds, no spread, best or last epoch not said). openmix has not run it
yet, so it claims no figure.
"""

_base_ = "./wrn28_10_baseline.py"
model = dict(mix_mode="resizemix")
