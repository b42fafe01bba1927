"""WRN-28-10 on CIFAR-10 with ResizeMix+, 200 epochs: a row of ResizeMix's CIFAR-10 table.

Published top-1: 97.10 (ResizeMix's README; below ResizeMix's own 97.60, and perhaps a misprint). ResizeMix ships no
config of this row: that it is ResizeMix and two RandAugmented copies is inferred from its code. openmix has not run
it yet, so it claims no figure.
"""

_base_ = "./wrn28_10_baseline.py"
model = dict(mix_mode="resizemixplus")
