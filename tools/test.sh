#!/usr/bin/env bash
# Make or reuse .venv, install imettk with its test extra, and run the linters and the whole test suite.
# `bash tools/test.sh [PYTEST OPTIONS]`
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
install "[test]"
echo "+ ruff check"
.venv/bin/ruff check .
echo "+ mypy"
.venv/bin/mypy
echo "+ pytest $*"
exec .venv/bin/python -m pytest "$@"
