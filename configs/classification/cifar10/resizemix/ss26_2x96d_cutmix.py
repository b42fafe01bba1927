"""Shake-Shake 26 2x96d on CIFAR-10 with CutMix (alpha 1) in every second batch on average, 1800 epochs: a row of
ResizeMix's CIFAR-10 table.

Published top-1: 97.62 (ResizeMix's README; no seeds, no spread, best or last epoch not said). The probability is that
of CutMix's authors for CIFAR; ResizeMix ships no config of this row. openmix has not run it yet, so it claims no
figure.
"""

_base_ = "./ss26_2x96d_baseline.py"
model = dict(mix_mode=["cutmix", "vanilla"], alpha=1.0, mix_prob=[0.5, 0.5])
