#!/usr/bin/env bash
# Make .venv, install imettk, and play the whole story once. `bash tools/demo.sh [RUN_DIR]`; a new folder by default.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
install ""
run_dir=${1:-}
if [ -z "$run_dir" ]; then
    number=1
    while [ -e "runs/demo$number" ]; do number=$((number + 1)); done
    run_dir=runs/demo$number
fi
echo "+ .venv/bin/imettk demo --run-dir $run_dir"
exec .venv/bin/imettk demo --run-dir "$run_dir"
