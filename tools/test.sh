#!/usr/bin/env bash
# Make or reuse .venv, install imettk with its test extra, and run the linters and the whole test suite, in two processes
# that take one file after another. `bash tools/test.sh [--like-kaggle] [PYTEST OPTIONS]`; with
# --like-kaggle under the platform's versions, in .venv-like-kaggle, without the linters.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
two=(-n 2 --dist loadfile --no-loadscope-reorder)
if [ "${1:-}" = "--like-kaggle" ]; then
    shift
    install "[test]" .venv-like-kaggle tools/kaggle-versions.txt python3.12
    echo "+ pytest ${two[*]} $*"
    exec .venv-like-kaggle/bin/python -m pytest "${two[@]}" "$@"
fi
install "[test]"
echo "+ ruff check; ruff format --check"
.venv/bin/ruff check .
.venv/bin/ruff format --check .
# mypy is one process: beside the tests it leaves no core idle. What it finds is printed at once and fails the run.
echo "+ mypy & pytest ${two[*]} $*"
.venv/bin/mypy &
types=$!
trap 'kill "$types" 2>/dev/null || true' EXIT
status=0
.venv/bin/python -m pytest "${two[@]}" "$@" || status=$?
if ! wait "$types"; then
    echo "mypy found errors: see above" >&2
    status=1
fi
exit "$status"
