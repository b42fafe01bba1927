#!/usr/bin/env bash
# Train on NPROC processes of this node (GPUs where there are any, else CPUs over gloo):
#   bash tools/dist_train.sh CONFIG NPROC [train.py options]
# Environment: PORT, NNODES, NODE_RANK, MASTER_ADDR, CUDA_VISIBLE_DEVICES.
source "$(dirname "${BASH_SOURCE[0]}")/dist.sh"
run_distributed train.py 1 "$@"
