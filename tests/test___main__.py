"""Ctrl-C is answered in one line from the first import on."""

import os
import re
import subprocess
import sys

import pytest
from places import PROJECT


def entry_point() -> str:
    """Return the code that pip writes into the `imettk` command."""
    setup = (PROJECT / "setup.py").read_text()
    module, function = re.findall(r'"imettk = ([\w.]+):(\w+)"', setup)[0]
    return f"import sys; from {module} import {function}; sys.exit({function}())"


@pytest.mark.parametrize("start", [["-m", "imettk"], ["-c", entry_point()]], ids=["module", "command"])
@pytest.mark.parametrize("module", ["imettk.cli.main", "imettk.config", "imettk.recipes.digits", "argparse"])
def test_ctrl_c_while_python_still_imports_is_one_line(start, module, tmp_path):
    """Raise the interrupt while the module is being looked up."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\n\nclass Interrupt:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n            raise KeyboardInterrupt\n\n\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(PROJECT)])
    done = subprocess.run(
        [sys.executable, *start, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout) == (1, "imettk: stopped\n", "")
