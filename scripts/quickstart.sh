#!/usr/bin/env bash
# From a bare machine to a table: mixing against no mixing on real handwritten digits, and a picture of the mixes.
# Installs into .venv, then trains 12 small networks on the CPU (about a minute).
#   bash scripts/quickstart.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh" train
configs=(configs/quickstart/digits_{vanilla,mixup,cutmix,resizemix}.py)
out=work_dirs/quickstart
# networks as small as these keep neither a GPU nor a second core busy
export CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1
openmix compare "${configs[@]}" --seeds 0 1 2 --work-dir "$out" --split test
openmix preview "${configs[@]}" --out "$out/mixed.png"
echo "Table: $out/comparison.md   pictures: $out/mixed.png   each run's records: $out/digits_*/seed_*/"
