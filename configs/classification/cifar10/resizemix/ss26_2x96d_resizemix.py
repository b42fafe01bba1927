"""Shake-Shake 26 2x96d on CIFAR-10 with ResizeMix, 1800 epochs: a row of ResizeMix's CIFAR-10 table.

Published top-1: 97.93 (ResizeMix's README; no seeds, no spread, best or last epoch not said). openmix has not run it
yet, so it claims no figure.
"""

_base_ = "./ss26_2x96d_baseline.py"
model = dict(mix_mode="resizemix")
