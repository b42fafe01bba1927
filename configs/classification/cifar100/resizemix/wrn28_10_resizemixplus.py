"""WRN-28-10 on CIFAR-100 with ResizeMix+, 200 epochs: a row of ResizeMix's CIFAR-100 table.

Published top-1: 85.23 (ResizeMix's README; no seeds, no spread, best or last epoch not said). ResizeMix ships no
config of this row: that it is ResizeMix and two RandAugmented copies is inferred from its code. openmix has not run
it yet, so it claims no figure.
"""

_base_ = "./wrn28_10_baseline.py"
model = dict(mix_mode="resizemixplus")
