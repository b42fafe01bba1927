"""Shake-Shake 26 2x96d on CIFAR-10 with ResizeMix+, 1800 epochs: a row of ResizeMix's CIFAR-10 table.

Published top-1: 98.47 (ResizeMix's README; no seeds, no spread, best or last epoch not said). ResizeMix ships no
config of this row: that it is ResizeMix and two RandAugmented copies is inferred from its code. openmix has not run
it yet, so it claims no figure.
"""

_base_ = "./ss26_2x96d_baseline.py"
model = dict(mix_mode="resizemixplus")
