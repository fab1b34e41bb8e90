"""The demo against its bars: `python tools/bench/demo.py [--check] [--rounds N]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="exit 1 when a row misses its bar")
    parser.add_argument("--rounds", type=int, default=1, help="how often the demo is played (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{platform.platform()}, {os.cpu_count()} cores, {platform.processor() or platform.machine()}")
    print(f"python {platform.python_version()}, torch {version('torch')}, timm {version('timm')}\n")
    helps = [_seconds(["--help"]) for _ in range(7)]
    demos, scores = [], []
    for _ in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            demos.append(_seconds(["demo", "--run-dir", f"{folder}/demo"]))
            scores.append(json.loads(Path(folder, "demo", "scores.json").read_text()))
    rows = [
        ("demo, seconds", demos, max(demos), "<=", 240.0),
        ("imettk --help, seconds", helps, statistics.median(helps), "<=", 1.0),
        ("test F2", [score["test"] for score in scores], min(score["test"] for score in scores), ">=", 0.97),
        ("OOF F2", [score["oof"] for score in scores], min(score["oof"] for score in scores), ">=", 0.94),
        ("|OOF - test|", gaps := [abs(score["oof"] - score["test"]) for score in scores], max(gaps), "<=", 0.03),
        (
            "best constant answer",
            [score["constant"] for score in scores],
            max(score["constant"] for score in scores),
            "<=",
            0.75,
        ),
    ]
    print(f"{'':<24}{'median':>10}{'min':>10}{'max':>10}{'bar':>12}")
    missed = 0
    for name, values, judged, direction, bar in rows:
        holds = judged <= bar if direction == "<=" else judged >= bar
        missed += not holds
        middle = statistics.median(values)
        mark = "" if holds else "   MISSED"
        print(f"{name:<24}{middle:>10.4f}{min(values):>10.4f}{max(values):>10.4f}{direction:>7}{bar:>6g}{mark}")
    sys.exit(1 if arguments.check and missed else 0)


def _seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "imettk", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
