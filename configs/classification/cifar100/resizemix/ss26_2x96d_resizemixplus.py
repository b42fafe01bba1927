"""Shake-Shake 26 2x96d on CIFAR-100 with ResizeMix+, 1800 epochs: a row of ResizeMix's CIFAR-100 table.

Published top-1: 85.60 (ResizeMix's README; no seeds, no spread, best or last epoch not said). ResizeMix ships no
config of this row: that it is ResizeMix and two RandAugmented copies is inferred from its code. openmix has not run
it yet, so it claims no figure.
"""

_base_ = "./ss26_2x96d_baseline.py"
model = dict(mix_mode="resizemixplus")
