"""Members of an ensemble: their prediction files, joined by id and blended row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imettk.data.csv_files import list_names
from imettk.data.sample_table import LabelledTable
from imettk.errors import MismatchError, MissingFileError
from imettk.inference.predictor import Predictions, load_predictions
from imettk.postprocess.blend import Method, blend, rank_shares
from imettk.tasks import TASKS
from imettk.tracking.files import sha256

OOF, TEST = "oof.safetensors", "test.safetensors"
FOLDS = "folds"  # of each row, in the values of an ensemble's OOF predictions, which have no folder for each fold


@dataclass(frozen=True)
class Member:
    """Predictions of one run.

    Attributes:
        name: of its folder.
        oof: of each fold that it has trained.
        test: of each fold, or nothing where the test set has not been predicted.
    """

    name: str
    oof: dict[int, Predictions]
    test: dict[int, Predictions]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(next(iter(self.oof.values())).values["labels"])


@dataclass(frozen=True)
class Joined:
    """Out-of-fold predictions of M members for the same N rows, ordered by id.

    Attributes:
        probs: float32 (N, C) each; rows that a member has not predicted are 0.
        known: bool (M, N).
    """

    ids: np.ndarray
    folds: np.ndarray
    targets: np.ndarray
    probs: list[np.ndarray]
    known: np.ndarray


def read_member(path: Path) -> Member:
    """Read the predictions in a run folder.

    Raises:
        MissingFileError: it holds none.
        MismatchError: its files do not belong together, or are damaged.
    """
    oof, test = {}, {}
    for file in sorted(path.glob(f"fold*/{OOF}")):
        if not (number := file.parent.name.removeprefix("fold")).isdigit():
            continue  # a copy that was set aside
        fold = int(number)
        oof[fold] = load_predictions(file)
        _check(file, oof[fold], oof[min(oof)])
        model = file.with_name("model.safetensors")
        if model.is_file() and oof[fold].values.get("model") not in (None, sha256(model)):
            raise MismatchError(f"{file} is not of the model beside it: run `imettk validate` there again")
        if oof[fold].targets is None or "label_groups" not in oof[fold].values:
            raise MismatchError(f"{file} was written by an older version: run `imettk validate` there again")
        if (beside := file.with_name(TEST)).is_file():
            test[fold] = load_predictions(beside)
            _check(beside, test[fold], oof[fold])
    if not oof:
        raise MissingFileError(f"{path} holds no fold*/{OOF}: run `imettk validate` there first, which writes it")
    if test and set(test) != set(oof):
        raise MismatchError(f"{path}: folds {sorted(set(oof) - set(test))} lack {TEST}: run `imettk infer` there again")
    return Member(path.name, oof, test)


def _check(file: Path, predictions: Predictions, first: Predictions) -> None:
    """Raise `MismatchError` if predictions hold NaN, or have other labels than the file beside them."""
    if not np.isfinite(predictions.probs).all():
        raise MismatchError(f"{file} contains NaN probabilities: run `imettk validate` and `infer` there again")
    if len(set(predictions.ids.tolist())) < len(predictions.ids):
        raise MismatchError(f"{file} holds an id twice")
    if predictions.values["labels"] != first.values["labels"]:
        raise MismatchError(
            f"{file} has other labels than the files beside it: run `imettk validate` and `infer` there again"
        )


def join_members(members: list[Member], *, ranks: bool = False) -> Joined:
    """Join the members' out-of-fold predictions, row by row; a member knows the rows of the folds that it trained.

    Raises:
        MismatchError: members have other labels, other rows in a fold, or other labels of a row.
    """
    for member in members[1:]:
        if member.labels != members[0].labels:
            only = set(member.labels) ^ set(members[0].labels)
            what = list_names(sorted(only), "label") if only else "the same labels in another order"
            raise MismatchError(f"{member.name} and {members[0].name} have different labels: {what}; see --method join")
    ids_of: dict[int, np.ndarray] = {}
    for member in members:
        for fold, predictions in member.oof.items():
            ids = np.sort(predictions.ids)
            if not np.array_equal(ids_of.setdefault(fold, ids), ids):
                differ = sorted(set(ids.tolist()) ^ set(ids_of[fold].tolist()))
                raise MismatchError(
                    f"{member.name}: fold {fold} has other rows than that of the members before "
                    f"({list_names(differ, 'id')} only in one of them): members need the same folds.csv"
                )
    ids, folds = (
        np.concatenate(list(ids_of.values())),
        np.repeat(list(ids_of), [len(of_fold) for of_fold in ids_of.values()]),
    )
    order = np.argsort(ids)
    ids, folds = ids[order], folds[order]  # by id: runs may list the same rows in another order
    if (doubles := ids[1:][ids[1:] == ids[:-1]]).size:
        raise MismatchError(
            f"{list_names(doubles, 'id')} in different folds of different members: they need the same folds.csv"
        )
    first = next(iter(members[0].oof.values()))
    assert first.targets is not None
    targets = np.zeros((len(ids), *first.targets.shape[1:]), first.targets.dtype)
    seen, probs, known = np.zeros(len(ids), bool), [], np.zeros((len(members), len(ids)), bool)
    for number, member in enumerate(members):
        total = np.zeros((len(ids), first.probs.shape[2]), np.float32)
        for part in member.oof.values():
            rows = np.searchsorted(ids, part.ids)
            total[rows] = rank_shares(part.merged) if ranks else part.merged
            if seen[rows].any() and not np.array_equal(targets[rows][seen[rows]], part.targets[seen[rows]]):  # type: ignore[index]
                raise MismatchError(f"{member.name}: its rows have other labels than those of the members before")
            targets[rows], seen[rows], known[number, rows] = part.targets, True, True
        probs.append(total)
    return Joined(ids, folds, targets, probs, known)


def require_current_labels(name: str, files: Iterable[Predictions], table: LabelledTable) -> None:
    """Refuse a member whose predictions hold other labels of their rows than the training table of today.

    Raises:
        MismatchError: labels were added, removed or re-ordered, rows are gone, or some have other labels.
    """
    place = {name: row for row, name in enumerate(table.ids.tolist())}
    for predictions in files:
        if tuple(labels := predictions.values["labels"]) != table.labels:
            raise MismatchError(
                f"{name} knows {len(labels)} labels, the training table has {len(table.labels)} others, or in another "
                "order: was it changed after training?"
            )
        rows = np.array([place.get(row_id, -1) for row_id in predictions.ids.tolist()], np.int64)
        if (rows < 0).any():
            raise MismatchError(
                f"{name}: the training table lacks {list_names(predictions.ids[rows < 0], 'row')}; is --data another?"
            )
        assert predictions.targets is not None
        differ = (table.targets[rows] != predictions.targets).reshape(len(rows), -1).any(1)
        if differ.any():
            raise MismatchError(
                f"{name} was trained when {list_names(predictions.ids[differ], 'row')} had other labels, which would "
                "now score it: put the table back as it was, or train again"
            )


def blend_known(joined: Joined, method: Method, weights: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Blend the members that know each row, float32 (M, C), for these rows or all."""
    rows = np.arange(len(joined.ids)) if rows is None else rows
    result = np.zeros((len(rows), joined.probs[0].shape[1]), np.float32)
    patterns, pattern = np.unique(joined.known[:, rows], axis=1, return_inverse=True)
    for number, knows in enumerate(patterns.T):
        mine = np.flatnonzero(pattern == number)
        known_weights = np.where(knows, weights, 0)
        if known_weights.sum() == 0:  # only members of weight 0 know these rows: better their answer than none
            known_weights = knows.astype(float)
        result[mine] = blend([probs[rows[mine]] for probs in joined.probs], method, known_weights)
    return result


def blend_test(members: list[Member], method: Method, weights: np.ndarray) -> Predictions:
    """Blend the members' test predictions, each the mean of its folds; a member with more folds counts more.

    Raises:
        MismatchError: the test sets are not the same.
    """
    ids = np.sort(next(iter(members[0].test.values())).ids)
    parts = []
    for member in members:
        width = next(iter(member.test.values())).probs.shape[2]
        total = np.zeros((len(ids), width), np.float32)
        for part in member.test.values():
            order = np.argsort(part.ids)
            if not np.array_equal(part.ids[order], ids):
                differ = sorted(set(part.ids.tolist()) ^ set(ids.tolist()))
                raise MismatchError(
                    f"{member.name}: its test set is another one ({list_names(differ, 'id')} only in one of them)"
                )
            total += rank_shares(part.merged[order]) if method == "rank" else part.merged[order]
        parts.append(total / len(member.test))
    shares = weights * [len(member.test) for member in members]
    return Predictions(ids, blend(parts, method, shares)[None], {"merge": "mean"})


def join_labels(members: list[Member]) -> Member:
    """Join members with different labels into a single member with all of them."""
    labels = [label for member in members for label in member.labels]
    if len(set(labels)) != len(labels):
        doubles = sorted({label for label in labels if labels.count(label) > 1})
        raise MismatchError(
            f"--method join is for members of different labels; {list_names(doubles, 'label')} more than once"
        )

    if not all(TASKS[part.values["task"]].separable for member in members for part in member.oof.values()):
        raise MismatchError(
            "--method join is for several labels a row: classes that exclude each other cannot be joined"
        )
    for member in members[1:]:
        if set(member.oof) != set(members[0].oof):
            raise MismatchError(
                f"{member.name} has the folds {sorted(member.oof)}, {members[0].name} {sorted(members[0].oof)}: "
                "--method join needs the same ones"
            )
    has_test = all(member.test for member in members)

    def join(of: Callable[[Member], dict[int, Predictions]]) -> dict[int, Predictions]:
        result = {}
        for fold, first in of(members[0]).items():
            parts = []
            for member in members:
                part = of(member).get(fold)
                if part is None or set(part.ids) != set(first.ids):
                    raise MismatchError(f"{member.name} and {members[0].name} need the same rows in fold {fold}")
                place = {name: row for row, name in enumerate(part.ids.tolist())}
                rows = np.array([place[name] for name in first.ids.tolist()])
                parts.append((part.merged[rows], None if part.targets is None else part.targets[rows]))
            groups = [group for member in members for group in member.oof[min(member.oof)].values["label_groups"]]
            values: dict[str, Any] = first.values | {"labels": labels, "label_groups": groups, "merge": "mean"}
            probs = np.concatenate([probs for probs, _ in parts], 1)[None]
            targets = None if first.targets is None else np.concatenate([targets for _, targets in parts], 1)
            result[fold] = Predictions(first.ids, probs, values, targets)
        return result

    return Member(
        " + ".join(member.name for member in members),
        join(lambda member: member.oof),
        join(lambda member: member.test) if has_test else {},
    )
