#!/usr/bin/env bash
# Build the dataset folder that kernels run from. `bash tools/pack.sh [--owner NAME] [--out DIR] [RECIPE.py]`
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
install ""
echo "+ .venv/bin/imettk kaggle pack $*"
exec .venv/bin/imettk kaggle pack "$@"
