"""ResNet-18 on CIFAR-10 with Puzzle Mix (alpha 1), a row of OpenMixup's CIFAR-10 benchmark.

Its settings there are the authors' for CIFAR, and the method's defaults here. Cross entropy is of soft labels for every
method here; the file keeps the name that it has there.
Published top-1 for 200, 400, 800, 1200 epochs: 96.42, 96.87, 97.10, 97.13
(OpenMixup's docs: median of the last 10 epochs; no seeds, no spread). openmix claims none of its own yet.
"""

_base_ = "./r18_mixups_CE_none.py"
model = dict(mix_mode="puzzlemix", alpha=1.0)
