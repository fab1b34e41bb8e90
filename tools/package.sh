#!/usr/bin/env bash
# Build sdist and wheel as they would be published, install the wheel into a clean environment, and use it there, by
# command and by notebook. `bash tools/package.sh [DIST]`; sdist and wheel stay in DIST, a temporary folder by default.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
install "[test]"
unset PYTHONPATH # which would put this folder's imettk before the wheel's
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
dist=${1:-$scratch/dist}
if compgen -G "$dist/*" >/dev/null; then
    echo "$dist is not empty: name another folder" >&2
    exit 2
fi
echo "+ python -m build; twine check --strict"
.venv/bin/python -m build --outdir "$dist" . >"$scratch/build.log" 2>&1 || { cat "$scratch/build.log" >&2; exit 1; }
.venv/bin/python -m twine --no-color check --strict "$dist"/*
wheel=$(realpath "$dist"/*.whl)
check=$(realpath tools/package_check.py)

echo "+ pip install $(basename "$wheel")   (into a clean environment; torch takes some minutes)"
.venv/bin/python -m venv "$scratch/venv"
cd "$scratch"
clean=$scratch/venv/bin
"$clean/python" -m pip install --quiet --disable-pip-version-check "$wheel" ipykernel nbclient nbformat
"$clean/python" -m pip check
echo "+ imettk --version; imettk doctor"
"$clean/imettk" --version
"$clean/imettk" doctor
echo "+ package_check.py"
mkdir try
"$clean/python" "$check" try
