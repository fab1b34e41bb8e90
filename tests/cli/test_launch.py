"""Processes of one training share the cores, end together, and exit with the code of the cause."""

from __future__ import annotations

import os
import sys
import time

import pytest

from imettk.cli.launch import launch

EXITS = """
import os, sys, time
rank = int(os.environ["RANK"])
{body}
"""


@pytest.mark.parametrize(("given", "expected"), [("5", "5"), (None, str(max(1, (os.cpu_count() or 1) // 3)))])
def test_processes_share_the_cores_or_get_the_given_number_of_threads(tmp_path, monkeypatch, given, expected):
    """Waiting threads spin, so more threads than cores would make a step many times slower."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    if given is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    code = "import os, sys; open(f'{sys.argv[1]}/{os.environ[\"RANK\"]}', 'w').write(os.environ['OMP_NUM_THREADS'])"
    assert launch([sys.executable, "-c", code, str(tmp_path)], 3, started=0.0) == 0
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {rank: expected for rank in "012"}


@pytest.mark.parametrize(
    "body, code, text",
    [
        ("sys.exit(0)", 0, ""),
        ("time.sleep(0.3 * rank); sys.exit('imettk: wrong input' if rank == 2 else 0) ", 1, "imettk: wrong input"),
        ("sys.exit(2 if rank == 1 else 1)", 2, ""),
        ("os.kill(os.getpid(), 9) if rank == 1 else time.sleep(3600)", 1, "process 1 was killed by SIGKILL"),
    ],
)
def test_the_exit_code_is_that_of_the_cause(tmp_path, capfd, monkeypatch, body, code, text):
    monkeypatch.setattr("imettk.cli.launch.GRACE_SECONDS", 0.5)
    script = tmp_path / "exits.py"
    script.write_text(EXITS.format(body=body))
    assert launch([sys.executable, str(script)], 3, started=0.0) == code
    assert text in capfd.readouterr().err


@pytest.mark.slow
def test_a_failing_process_ends_all(tmp_path, capfd, monkeypatch):
    """The others wait for it in a collective, where no message reaches them."""
    monkeypatch.setattr("imettk.cli.launch.GRACE_SECONDS", 1.0)
    script = tmp_path / "fails.py"
    script.write_text(
        "import sys, torch\n"
        "from imettk.errors import DataError\n"
        "from imettk.training.process_group import join_process_group\n"
        "processes = join_process_group(torch.device('cpu'))\n"
        "if processes.rank == 1:\n"
        "    print('imettk: image is broken', file=sys.stderr)\n"
        "    sys.exit(2)\n"
        "processes.all_reduce_flags([1])\n"
    )
    started = time.monotonic()
    assert launch([sys.executable, "-W", "ignore", str(script)], 2, started=0.0) == 2
    assert "image is broken" in capfd.readouterr().err
    assert time.monotonic() - started < 900  # the collective would have waited for half an hour
