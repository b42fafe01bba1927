"""ResNet-50 on ImageNet with CutMix (alpha 1), 300 epochs: a row of ResizeMix's ImageNet table.

Published top-1: 78.60 (ResizeMix's README; no seeds, no spread, best or last epoch not said). ResizeMix ships the
config of ResNet-101 with ResizeMix alone; the others are inferred from it. 512 images a step: run it on 8 processes,
or set optim_wrapper.accumulative_counts. openmix has not run it yet, so it claims no figure.
"""

_base_ = "./r50_baseline.py"
model = dict(mix_mode="cutmix", alpha=1.0)
