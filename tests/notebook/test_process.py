"""A command in a process of its own: its lines, its errors, its end."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from imettk import errors
from imettk.notebook import process
from imettk.notebook.process import CommandError, run_command

PATIENCE = 60.0  # seconds, of a machine under load

# Stands in for the child: each does what its first word says.
FAKE = """
import signal, subprocess, sys, time
what = sys.argv[2]
if what == "lines":
    print("out"); print("\\r 10% of a bar", file=sys.stderr); print("imettk: note of its own", file=sys.stderr)
elif what == "fail":
    sys.stderr.write("Traceback\\nimettk: it broke\\n"); sys.exit(int(sys.argv[3]))
elif what == "last":
    print("ready", flush=True); sys.stdin.read(); open(sys.argv[3], "w").close()
elif what == "die":
    import os; os.kill(os.getpid(), signal.SIGKILL)
else:
    if what == "hang":  # with a process of its own, which has its streams
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    stopped = []
    signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
    print("ready", flush=True)
    while what == "hang" or not stopped:
        time.sleep(0.01)
    print("saved", flush=True)
"""


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Run the stand-in instead of the child."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda words, **how: real([words[0], str(script), *words[3:]], **how))


def test_lines_come_out_where_they_belong(fake, capsys):
    run_command(["lines"])
    out, err = capsys.readouterr()
    assert out == "out\n" and err == " 10% of a bar\nimettk: note of its own\n"


def test_an_error_comes_back_with_its_class_and_message(tmp_path, capsys):
    with pytest.raises(errors.MissingFileError, match=r"^recipe.json is missing|recipe") as caught:
        run_command(["validate", "--run-dir", str(tmp_path)])
    # Shown once, by the exception, and as one line in a notebook.
    assert "imettk:" not in capsys.readouterr().err
    assert caught.value._render_traceback_() == [f"MissingFileError: {caught.value}"]


def test_other_faults_say_how_the_command_ended(fake, capsys):
    with pytest.raises(errors.UserError, match=r"^it broke$"):
        run_command(["fail", "2"])
    with pytest.raises(CommandError, match=r"^`imettk fail` ended with code 1: it broke$"):
        run_command(["fail", "1"])
    assert capsys.readouterr().err == "Traceback\nTraceback\n"
    with pytest.raises(CommandError, match=r"^`imettk die` was killed by SIGKILL: see above"):
        run_command(["die"])


@pytest.mark.parametrize(("what", "count"), [("wait", 1), ("hang", 2)])
def test_an_interrupt_waits_until_the_command_has_saved_and_a_second_one_kills_it(
    fake, capsys, monkeypatch, what, count
):
    def interrupt(line):
        if "ready" in line or ("interrupted" in line and count == 2):
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()

    show = process.Cell.print
    monkeypatch.setattr(process.Cell, "print", lambda cell, line, **how: (show(cell, line, **how), interrupt(line))[0])
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_command([what])
    assert time.monotonic() - begun < PATIENCE
    assert ("saved" in capsys.readouterr().out) == (what == "wait")


def test_a_fault_of_the_cell_ends_the_command(fake, monkeypatch, tmp_path):
    def fail(cell, line, **how):
        raise OSError("no frontend")

    monkeypatch.setattr(process.Cell, "print", fail)
    with pytest.raises(OSError, match="no frontend"):
        run_command(["last", str(tmp_path / "ended")])
    assert (tmp_path / "ended").exists()


def test_an_error_of_the_parser_is_the_users(capsys):
    with pytest.raises(errors.UserError, match=r"^argument --fold: invalid int value: 'x'$"):
        run_command(["train", "--fold", "x"])


def test_the_command_ends_with_the_process_that_began_it_after_saving(tmp_path):
    code = (
        "import signal, sys, time\nfrom pathlib import Path\nimport imettk.notebook.child as child\n"
        "def train(argv, report):\n"
        "    stopped = []\n"
        "    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))\n"
        "    while not stopped:\n"
        "        print('a line', flush=True); print('a bar', file=sys.stderr)\n"
        "        time.sleep(0.01)\n"
        "    print('nobody reads this'); Path(argv[0]).touch()\n"
        "child.main = train\n"
        "child.run_child(Path('unused'), sys.argv[1:])"
    )
    pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "saved")], **pipes)
    assert child.stdout.readline() == b"a line\n"
    for stream in (child.stdout, child.stderr, child.stdin):  # as when the notebook's process is killed
        stream.close()
    assert child.wait(PATIENCE) == 0 and (tmp_path / "saved").is_file()
