"""The bar is one changing line in a terminal, and a plain line now and then in a kernel's log."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios

from imettk.progress import with_bar

# 300 steps in 600 seconds, by the bar's clock.
CODE = """
import tqdm.std
from imettk import progress
now = 0.0
tqdm.std.time = lambda: now
with progress.progress_bar("train", total=400, done=100, unit="step") as bar:
    for step in range(300):
        now += 2.0
        bar.set_postfix(loss="0.5", refresh=False)
        bar.update()
        if step == 150:
            progress.say("a line between")
"""


def run_without_terminal() -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)


def test_a_log_gets_plain_lines_and_few_of_them():
    done = run_without_terminal()
    lines = done.stderr.splitlines()
    assert "\r" not in done.stderr and "\x1b" not in done.stderr and done.stderr.isascii()
    # One every 15 seconds, which is every eighth step, and the first, the last, and one after the line between.
    assert 600 // 16 <= len(lines) <= 600 // 15 + 3 and all(line.startswith("train:") for line in lines)
    counts = [int(count) for line in lines for count in re.findall(r"(\d+)/400", line)]
    assert counts[0] == 100 and counts[-1] == 400 and counts == sorted(counts)
    assert "loss=0.5" in lines[-1] and done.stdout == "a line between\n"


def test_a_terminal_gets_one_changing_line():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    assert process.returncode == 0
    text = b"".join(parts).decode()
    assert text.count("\r") > 3 and "a line between" in text
    assert len([line for line in text.split("\n") if line.strip()]) <= 3  # the bar, the line, and the bar below it
    assert "400/400" in text


def test_characters_that_the_output_cannot_encode_are_escaped():
    code = r"from imettk.progress import say; say('caf\udce9, \u732b')"
    for encoding, line in (("utf-8:strict", "caf\\udce9, 猫\n"), ("ascii:strict", "caf\\udce9, \\u732b\n")):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=environment, timeout=60
        )
        assert done.stdout.decode() == line


def test_items_come_unchanged_while_a_bar_counts_them(capsys):
    assert list(with_bar(iter("abc"), "letters", total=3, unit="letter")) == ["a", "b", "c"]
    assert "3/3" in capsys.readouterr().err
    assert list(with_bar("ab", "letters", total=2, unit="letter", hidden=True)) == ["a", "b"]
    assert capsys.readouterr().err == ""
