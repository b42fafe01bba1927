#!/usr/bin/env bash
# Evaluate a checkpoint on NPROC processes of this node; the figures do not depend on NPROC:
#   bash tools/dist_test.sh CONFIG NPROC CHECKPOINT [test.py options]
# Environment: PORT, NNODES, NODE_RANK, MASTER_ADDR, CUDA_VISIBLE_DEVICES.
source "$(dirname "${BASH_SOURCE[0]}")/dist.sh"
run_distributed test.py 2 "$@"
