"""The code's hash is the same from a zip."""

from __future__ import annotations

import subprocess
import sys


def test_the_codes_hash_is_the_same_from_a_zip(tmp_path):
    from imettk.kaggle.pack import PackOrder, make_pack
    from imettk.tracking.code import code_version

    make_pack(tmp_path / "pack", PackOrder(wheels=False), owner="me")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import imettk.tracking.code as m; print(m.code_version())"
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", code, tmp_path / "pack" / "imettk.zip"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.strip() == code_version()
