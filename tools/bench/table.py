"""Shared parts of the benchmarks: the machine's line, the table with its bars, and the exit code of `--check`."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A measured quantity.

    Attributes:
        values: one a round, in `unit`.
        baseline: the rounds of what it is compared with, interleaved with these; none for a plain number.
        bar: what the median of the ratios (or of the values) must not exceed, or reach; None for a peer.
        at_least: the bar is a floor.
    """

    name: str
    values: Sequence[float]
    unit: str = ""
    baseline: Sequence[float] = ()
    bar: float | None = None
    at_least: bool = False

    @property
    def judged(self) -> float:
        """The median, or with a baseline the median of the rounds' ratios: what slows both cancels out."""
        if not self.baseline:
            return statistics.median(self.values)
        return statistics.median(value / base for value, base in zip(self.values, self.baseline, strict=True))

    @property
    def holds(self) -> bool:
        return self.bar is None or (self.judged >= self.bar if self.at_least else self.judged <= self.bar)


def arguments_of(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--check", action="store_true", help="exit 1 when a row misses its bar")
    parser.add_argument("--quick", action="store_true", help="a smoke test: few rounds, numbers mean little")
    return parser


def print_machine(*packages: str) -> None:
    """Print machine and versions, which belong above every table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, {_processor()}")
    names = ("torch", "timm", *packages)
    print(", ".join([f"python {platform.python_version()}", *(f"{name} {_version(name)}" for name in names)]) + "\n")


def print_table(rows: Sequence[Row]) -> int:
    """Print the rows; return the number that miss their bar."""
    print(f"{'':<46}{'median':>10}{'min':>10}{'max':>10}{'baseline':>10}{'ratio':>8}{'bar':>10}")
    for row in rows:
        middle = statistics.median(row.values)
        base = f"{statistics.median(row.baseline):>10.4g}{row.judged:>8.3f}" if row.baseline else " " * 18
        bar = "" if row.bar is None else f"{'>=' if row.at_least else '<='} {row.bar:g}"
        name = f"{row.name}, {row.unit}" if row.unit else row.name
        mark = "" if row.holds else "   MISSED"
        print(f"{name:<46}{middle:>10.4g}{min(row.values):>10.4g}{max(row.values):>10.4g}{base}{bar:>10}{mark}")
    return sum(not row.holds for row in rows)


def finish(rows: Sequence[Row], arguments: argparse.Namespace) -> None:
    """Print the table and exit, with code 1 if `--check` was given and a row misses its bar."""
    missed = print_table(rows)
    sys.exit(1 if arguments.check and missed else 0)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
