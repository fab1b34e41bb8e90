# Sourced by demo.sh and test.sh: a virtual environment with the package in it, made once and reused.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

install() { # install EXTRA [VENV] [CONSTRAINTS] [PYTHON]; EXTRA is "" or "[test]"
    local venv=${2:-.venv} constraints=${3:-} python=""
    # pyenv's own name for a version answers only where that version is chosen; the version itself lies below its root.
    for candidate in ${4:-python3 python3.14 python3.13 python3.12 python3.11} ${4:+"$HOME"/.pyenv/versions/*/bin/"$4"}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "imettk needs ${4:-Python 3.11 or newer}; python3 here is $(python3 --version 2>&1)" >&2
        exit 2
    fi
    if ! "$venv/bin/python" -c '' 2>/dev/null; then
        echo "+ $python -m venv $venv"
        "$python" -m venv --clear "$venv"
    fi
    # The mark holds setup.py's hash, so that a new dependency is installed and nothing is asked of the index otherwise.
    local mark="$venv/.imettk-installed" wanted
    wanted="$1 $(cat setup.py $constraints | sha256sum | cut -d' ' -f1)"
    if ! grep -qxF "$wanted" "$mark" 2>/dev/null; then
        echo "+ $venv/bin/pip install -e .$1   (torch with its libraries takes a few minutes and 6 GB)"
        "$venv/bin/python" -m pip install --quiet ${constraints:+-c "$constraints"} -e ".$1"
        echo "$wanted" >>"$mark"
    fi
}
