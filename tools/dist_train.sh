#!/usr/bin/env bash
# Train on several GPUs of one machine, or of several:
#     tools/dist_train.sh CONFIG GPUS [flags of tools/train.py ...]
# NNODES, NODE_RANK, MASTER_ADDR and PORT describe a run on several machines. PYTHON names another python than
# the first on PATH. Without GPUs the processes use the CPU.
set -euo pipefail

if [ "$#" -lt 2 ]; then
    echo "usage: tools/dist_train.sh CONFIG GPUS [--work-dir DIR] [--resume] [--amp] [--cfg-options KEY=VALUE ...]" >&2
    exit 2
fi
CONFIG=$1
GPUS=$2
shift 2

exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node-rank="${NODE_RANK:-0}" \
    --master-addr="${MASTER_ADDR:-127.0.0.1}" \
    --master-port="${PORT:-29500}" \
    --nproc-per-node="$GPUS" \
    "$(dirname "$0")/train.py" "$CONFIG" --launcher pytorch "$@"
