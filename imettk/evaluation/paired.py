"""Compare two runs on the out-of-fold rows that both validated, from the `judged.safetensors` that each one left.

`validate` and `ensemble` write that file: what the metric judged of each row. Honest answers come from rules fitted on
the other folds, so they cannot be read off `oof.safetensors` and `rule.json`, and fitting them again needs the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from imettk.data.csv_files import list_names
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.errors import MismatchError, MissingFileError
from imettk.evaluation.units import Pooled
from imettk.metrics import Scorer
from imettk.metrics.paired import PairedScores, compare_paired
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.honest import draw_rows
from imettk.progress import say, with_bar
from imettk.tracking.run_dir import JUDGED, RunDir
from imettk.tracking.tensors import read_tensors, save_tensors

NUM_DRAWS = 1000
MAX_BYTES = 400_000_000  # of outputs and targets; beyond that a run's file would outweigh its models
NUMBERS = "biuf"  # kinds of numpy types that the file can hold
CHUNK = 4096  # rows whose targets are compared at a time


@dataclass(frozen=True)
class Judged:
    """Out-of-fold rows of a run, as its metric judges them.

    Attributes:
        ids: str (N,).
        outputs: answers or probabilities, first axis N.
        targets: in the metric's form, first axis N.
        groups: rows that are drawn together, int64 (N,), or None.
        labels: names of the classes or columns.
    """

    ids: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray
    groups: np.ndarray | None
    labels: tuple[str, ...]

    def take(self, rows: np.ndarray) -> Judged:
        """Return these rows, int64 (M,), in this order."""
        groups = None if self.groups is None else self.groups[rows]
        return Judged(self.ids[rows], self.outputs[rows], self.targets[rows], groups, self.labels)


def keep_judged(
    run: RunDir,
    ids: np.ndarray,
    outputs: np.ndarray,
    targets: np.ndarray,
    *,
    groups: np.ndarray | None,
    labels: Sequence[str],
) -> None:
    """Write `judged.safetensors`; arguments as the attributes of `Judged`, groups of any dtype.

    Tables of 0 and 1 are stored as bits: the answers of iMet 2020 (142,119 rows, 3,474 labels) take 62 MB instead of
    494 MB. If there is no room for the file, or it would be larger than `MAX_BYTES`, it is left out with a note, and an
    older one, which no longer holds, is removed: a validation must not fail because of a file for comparisons.
    """
    stored, bits = {}, {}
    for name, part in (("outputs", outputs), ("targets", targets)):
        stored[name] = part
        if part.ndim == 2 and part.dtype in (np.dtype(bool), np.dtype(np.uint8)) and part.max(initial=0) <= 1:
            stored[name], bits[name] = np.packbits(part, axis=1), [part.dtype.name, part.shape[1]]
    path = run.path / JUDGED
    size = sum(part.nbytes for part in stored.values())
    if size > MAX_BYTES or not all(part.dtype.kind in NUMBERS for part in stored.values()):
        path.unlink(missing_ok=True)
        why = f"{size / 1e6:.0f} MB are too many" if size > MAX_BYTES else "the metric judges more than numbers"
        say(f"note: no {JUDGED} ({why}): `imettk log compare` will not tell this run's score from another's")
        return
    tensors = {name: torch.from_numpy(np.ascontiguousarray(part)) for name, part in stored.items()}
    if groups is not None:
        tensors["groups"] = torch.from_numpy(np.unique(groups, return_inverse=True)[1].astype(np.int64))
    try:
        save_tensors(path, tensors, {"ids": ids.tolist(), "labels": list(labels), "bits": bits})
    except OSError as error:
        path.unlink(missing_ok=True)
        say(f"warning: no {JUDGED}, which `imettk log compare` needs: {error}")


def keep_judged_oof(
    run: RunDir, fitter: RuleFitter, table: LabelledTable, pooled: Pooled, answers: np.ndarray, folds: np.ndarray
) -> None:
    """Write `judged.safetensors` of a fitted rule.

    Args:
        table: the validated rows.
        answers: by rules that have not seen these rows, first axis N.
        folds: int64 (N,).
    """
    outputs, targets = fitter.judged(answers, pooled.honest(folds), table.targets)
    keep_judged(run, table.ids, outputs, targets, groups=table.groups, labels=table.labels)


def keep_judged_rankings(run: RunDir, table: SampleTable, answers: np.ndarray, truth: np.ndarray) -> None:
    """Write `judged.safetensors` of ranked identities.

    Args:
        table: the validated rows.
        answers: int64 (N, k), best first.
        truth: int64 (N,), -1 for rows that are not judged.
    """
    rows = np.flatnonzero(truth >= 0)
    groups = None if table.groups is None else table.groups[rows]
    keep_judged(run, table.ids[rows], answers[rows], truth[rows], groups=groups, labels=table.labels)


def read_judged(path: Path) -> Judged:
    """Read what `keep_judged` wrote in a run folder.

    Raises:
        MissingFileError: there is no such file.
        MismatchError: it is damaged.
    """
    file = path / JUDGED
    if not file.is_file():
        raise MissingFileError(
            f"{path} has no judged.safetensors: run `imettk {_written_by(path)}` there again, which writes it, unless "
            "the run is too large for that"
        )
    return read_judged_file(file)


def read_judged_file(file: Path) -> Judged:
    """Read `judged.safetensors` or a copy of it; raise `MismatchError` if it is damaged."""
    content = read_tensors(file)
    try:
        parts = {name: content.tensors[name].numpy() for name in ("outputs", "targets")}
        for name, (dtype, columns) in content.values["bits"].items():
            parts[name] = np.unpackbits(parts[name], axis=1, count=columns).astype(dtype, copy=False)
        groups = content.tensors.get("groups")
        return Judged(
            np.array(content.values["ids"], str),
            **parts,
            groups=None if groups is None else groups.numpy(),
            labels=tuple(content.values["labels"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        command = _written_by(file.parent)
        raise MismatchError(f"{file} is damaged ({error}): run `imettk {command}` there again") from None


def _written_by(path: Path) -> str:
    return "ensemble" if (path / "ensemble.json").is_file() else "validate"


def compare_runs(first: Path, second: Path) -> PairedScores:
    """Compare two run folders on the rows that both validated, in whole groups where the folds were grouped.

    Raises:
        MissingFileError: a folder is not there, or lacks its recipe or `judged.safetensors`.
        MismatchError: other metrics, labels or truths, or no row in common.
    """
    if absent := [str(path) for path in (first, second) if not path.is_dir()]:
        raise MissingFileError(f"{' and '.join(absent)} cannot be found from {Path.cwd()}")
    scorers = [RunDir(path).recipe().scorer for path in (first, second)]
    if scorers[0].title != scorers[1].title:
        raise MismatchError(f"{first} is judged by {scorers[0].title}, {second} by {scorers[1].title}")
    return compare_judged(scorers[0], read_judged(first), read_judged(second), names=(str(first), str(second)))


def compare_judged(scorer: Scorer, first: Judged, second: Judged, *, names: tuple[str, str]) -> PairedScores:
    """Compare what two runs answered to the same rows; see `compare_runs`."""
    both = " and ".join(names)
    if first.labels != second.labels or first.targets.shape[1:] != second.targets.shape[1:]:
        raise MismatchError(f"{both} have different labels")
    if not np.array_equal(first.ids, second.ids):  # otherwise nothing is copied: tables may take half a gigabyte
        ids, rows, other_rows = np.intersect1d(first.ids, second.ids, return_indices=True)
        if not len(ids):
            raise MismatchError(f"{both} validated no row in common")
        first, second = first.take(rows), second.take(other_rows)
    differ = _differing_rows(first.targets, second.targets)
    if differ.any():
        raise MismatchError(f"{both} have different labels for {list_names(first.ids[differ], 'row')}")
    groups = second.groups if first.groups is None else first.groups
    # Some metrics take a second for each sample.
    samples = with_bar(draw_rows(len(first.ids), groups, NUM_DRAWS), "compare", total=NUM_DRAWS, unit="sample")
    return compare_paired(scorer, first.targets, first.outputs, second.outputs, samples)


def _differing_rows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which rows differ, bool (N,), a part at a time."""
    differ = np.zeros(len(first), bool)
    for begin in range(0, len(first), CHUNK):
        part = slice(begin, begin + CHUNK)
        differ[part] = (first[part] != second[part]).reshape(len(first[part]), -1).any(1)
    return differ
