"""Exact cosine neighbours at 50,000 x 50,000 x 512, beside scikit-learn's brute force and, where installed, faiss.

`python tools/bench/retrieval.py [--check] [--quick] [--rounds 3]`. All get the same arrays and threads, and normalise
them; the rounds are interleaved. Peak memory is that of a fresh process, above what it held with its input. Threads
wait passively, as other processes may have the cores: set OMP_WAIT_POLICY to change it.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when a library starts its threads

import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
from table import Row, arguments_of, finish, print_machine

from imettk.inference.retrieval import find_neighbours
from imettk.postprocess.ranking import Pool, Pooling, rank_labels

K, WIDTH = 20, 512
Search = Callable[[np.ndarray, np.ndarray], np.ndarray]  # queries, gallery -> rows of the gallery (Q, K)


def ours(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    return find_neighbours(queries, gallery, K).rows


def scikit_learn(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    fitted = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(gallery)
    return fitted.kneighbors(queries)[1]


def faiss(queries: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    index = import_module("faiss").IndexFlatIP(gallery.shape[1])
    index.add(gallery / np.linalg.norm(gallery, axis=1, keepdims=True))
    return index.search(queries / np.linalg.norm(queries, axis=1, keepdims=True), K)[1]


SEARCHES: dict[str, Search] = {"imettk": ours, "scikit-learn": scikit_learn, "faiss": faiss}


def make(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw queries and a gallery like a model's: clusters of a few images, float32 (count, WIDTH) each."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((max(1, count // 10), WIDTH), np.float32)
    made = [centres[rng.integers(0, len(centres), count)] for _ in range(2)]
    for part in made:
        part += rng.standard_normal(part.shape, np.float32)
    return made[0], made[1]


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def print_peak(name: str, count: int) -> None:
    """Print the MB that a search needs above its input and libraries, which a small search has loaded."""
    queries, gallery = make(count)
    SEARCHES[name](queries[:100], gallery[:100])
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    SEARCHES[name](queries, gallery)
    print((memory("VmHWM") - before) / 1024)


def memory(field: str) -> int:
    """Return a field of the process's state, in kB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def peak_of(name: str, count: int) -> float:
    """Run `print_peak` in a new process."""
    command = [sys.executable, __file__, "--peak", name, str(count)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def time_rows(count: int, rounds: int, names: list[str], judge: bool) -> list[Row]:
    """Time each library, and compare its rows with ours."""
    queries, gallery = make(count)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    found: dict[str, np.ndarray] = {}

    def search(name: str) -> None:
        found[name] = SEARCHES[name](queries, gallery)

    for name in names:
        SEARCHES[name](queries[:100], gallery[:100])  # loads the library
    for _ in range(rounds):
        for name in names:
            seconds[name].append(seconds_of(partial(search, name)))
    rows = []
    for name, bar, at_least in (("scikit-learn", 1.4, True), ("faiss", 1.6, False)):
        if name not in names:
            continue
        pair = (seconds[name], seconds["imettk"]) if at_least else (seconds["imettk"], seconds[name])
        what = "times faster than scikit-learn" if at_least else "beside faiss"
        rows.append(Row(f"imettk, {what}", pair[0], "s", pair[1], bar if judge else None, at_least))
        same = np.mean([len(np.intersect1d(*pair)) for pair in zip(found["imettk"][:2000], found[name], strict=False)])
        rows.append(Row(f"  share of the same rows as {name}", [float(same) / K], "", (), 0.999, True))
    return rows


def rank_rows(count: int, rounds: int) -> list[Row]:
    """Time the ranking of identities from 100 neighbours per query."""
    rng = np.random.default_rng(0)
    near = rng.integers(0, count, (count, 100))
    similarities = -np.sort(-rng.random(near.shape, np.float32))
    labels = rng.integers(0, max(1, count // 10), count)
    rows = []
    for pool in get_args(Pool):
        rank = partial(rank_labels, near, similarities, labels, k=5, pooling=Pooling(pool))
        rows.append(Row(f"identities by {pool}, of 100 neighbours", [seconds_of(rank) for _ in range(rounds)], "s"))
    return rows


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=50_000, help="queries, and rows of the gallery")
    parser.add_argument("--peak", nargs=2, metavar=("NAME", "COUNT"), help="print one search's peak memory, and leave")
    arguments = parser.parse_args()
    if arguments.peak:
        return print_peak(arguments.peak[0], int(arguments.peak[1]))
    count, rounds = (2_000, 1) if arguments.quick else (arguments.count, arguments.rounds)
    names = [name for name in SEARCHES if name != "faiss" or find_spec("faiss")]
    print_machine("numpy", "scikit-learn", "faiss-cpu")
    print(f"{count:,} queries, {count:,} gallery rows of {WIDTH}, k = {K}\n")
    rows = time_rows(count, rounds, names, not arguments.quick)
    for name in names:
        bar = 1000.0 if name == "imettk" else None
        rows.append(Row(f"peak above the input: {name}", [peak_of(name, count)], "MB", (), bar))
    finish([*rows, *rank_rows(count, rounds)], arguments)


if __name__ == "__main__":
    main()
