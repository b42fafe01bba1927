#!/usr/bin/env bash
# Train on NPROC processes of this node (GPUs where there are any, else CPUs over gloo):
#   bash tools/dist_train.sh CONFIG NPROC [--rdzv] [train.py options]
# Environment: PORT, NNODES, NODE_RANK, MASTER_ADDR, CUDA_VISIBLE_DEVICES.
# With --rdzv a lost process or node is replaced and all go on from the last checkpoint; MAX_RESTARTS, RDZV_TIMEOUT.
# docs/clusters.md says more.
source "$(dirname "${BASH_SOURCE[0]}")/dist.sh"
run_distributed train.py 1 "$@"
