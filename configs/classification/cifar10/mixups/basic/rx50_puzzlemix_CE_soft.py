"""ResNeXt-50 (32x4d) on CIFAR-10 with Puzzle Mix (alpha 1), a row of OpenMixup's CIFAR-10 benchmark.

Its settings there are the authors' for CIFAR, and the method's defaults here. Cross entropy is of soft labels for every
method here; the file keeps the name that it has there.
Published top-1 for 200, 400, 800, 1200 epochs: 97.05, 97.24, 97.37, 97.34
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./rx50_mixups_CE_none.py"
model = dict(mix_mode="puzzlemix", alpha=1.0)
