"""Members of an ensemble: what their prediction files hold, joined by id, and blended row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imettk.data.csv_files import list_names
from imettk.data.sample_table import SampleTable
from imettk.errors import MismatchError, MissingFileError
from imettk.inference.predictor import Predictions, load_predictions
from imettk.postprocess.blend import Method, blend, rank_shares
from imettk.tasks import TASKS
from imettk.tracking.files import sha256

OOF, TEST = "oof.safetensors", "test.safetensors"


@dataclass(frozen=True)
class Member:
    """One run's predictions.

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
    """The predictions that a run folder holds.

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


def _check(file: Path, one: Predictions, first: Predictions) -> None:
    """Raise `MismatchError` where a file's predictions are no numbers, or not of the labels of the one beside it."""
    if not np.isfinite(one.probs).all():
        raise MismatchError(f"{file} holds probabilities that are no numbers: `validate` and `infer` there again")
    if len(set(one.ids.tolist())) < len(one.ids):
        raise MismatchError(f"{file} holds an id twice")
    if one.values["labels"] != first.values["labels"]:
        raise MismatchError(f"{file} is of other labels than the files beside it: `validate` and `infer` there again")


def join_members(members: list[Member], *, ranks: bool = False) -> Joined:
    """Their out-of-fold predictions, row by row; each row is known to the members that have trained its fold.

    Raises:
        MismatchError: other labels, other rows in a fold, or other labels of a row.
    """
    for member in members[1:]:
        if member.labels != members[0].labels:
            only = set(member.labels) ^ set(members[0].labels)
            what = list_names(sorted(only), "label") if only else "the same labels in another order"
            raise MismatchError(f"{member.name} and {members[0].name} are of other labels: {what}; see --method join")
    ids_of: dict[int, np.ndarray] = {}
    for member in members:
        for fold, one in member.oof.items():
            ids = np.sort(one.ids)
            if not np.array_equal(ids_of.setdefault(fold, ids), ids):
                differ = sorted(set(ids.tolist()) ^ set(ids_of[fold].tolist()))
                raise MismatchError(
                    f"{member.name}: fold {fold} is of other rows than that of the members before "
                    f"({list_names(differ, 'id')} in one alone): members need the same folds.csv"
                )
    ids, folds = np.concatenate(list(ids_of.values())), np.repeat(list(ids_of), [len(each) for each in ids_of.values()])
    order = np.argsort(ids)
    ids, folds = ids[order], folds[order]
    if (doubles := ids[1:][ids[1:] == ids[:-1]]).size:
        raise MismatchError(
            f"{list_names(doubles, 'id')} in different folds of different members: they need the same folds.csv"
        )
    some = next(iter(members[0].oof.values()))
    assert some.targets is not None
    targets = np.zeros((len(ids), *some.targets.shape[1:]), some.targets.dtype)
    seen, probs, known = np.zeros(len(ids), bool), [], np.zeros((len(members), len(ids)), bool)
    for number, member in enumerate(members):
        total = np.zeros((len(ids), some.probs.shape[2]), np.float32)
        for one in member.oof.values():
            rows = np.searchsorted(ids, one.ids)
            total[rows] = rank_shares(one.merged) if ranks else one.merged
            if seen[rows].any() and not np.array_equal(targets[rows][seen[rows]], one.targets[seen[rows]]):  # type: ignore[index]
                raise MismatchError(f"{member.name}: its rows have other labels than those of the members before")
            targets[rows], seen[rows], known[number, rows] = one.targets, True, True
        probs.append(total)
    return Joined(ids, folds, targets, probs, known)


def require_current_labels(name: str, files: Iterable[Predictions], table: SampleTable) -> None:
    """Refuse predictions of a member that hold other labels of their rows than the training table has by now.

    Raises:
        MismatchError: labels were added, removed or re-ordered, rows are gone, or some have other labels.
    """
    assert table.targets is not None
    place = {one: row for row, one in enumerate(table.ids.tolist())}
    for found in files:
        if tuple(labels := found.values["labels"]) != table.labels:
            raise MismatchError(
                f"{name} knows {len(labels)} labels, the training table has {len(table.labels)} others, or in another "
                "order: was it changed after training?"
            )
        rows = np.array([place.get(one, -1) for one in found.ids.tolist()], np.int64)
        if (rows < 0).any():
            raise MismatchError(
                f"{name}: the training table lacks {list_names(found.ids[rows < 0], 'row')}: is --data another one?"
            )
        assert found.targets is not None
        differ = (table.targets[rows] != found.targets).reshape(len(rows), -1).any(1)
        if differ.any():
            raise MismatchError(
                f"{name} was trained when {list_names(found.ids[differ], 'row')} had other labels, which would "
                "now score it: put the table back as it was, or train anew"
            )


def blend_known(joined: Joined, method: Method, weights: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """The blend of the members that know each row, float32 (M, C), of these rows or all."""
    rows = np.arange(len(joined.ids)) if rows is None else rows
    result = np.zeros((len(rows), joined.probs[0].shape[1]), np.float32)
    patterns, pattern = np.unique(joined.known[:, rows], axis=1, return_inverse=True)
    for number, knows in enumerate(patterns.T):
        mine = np.flatnonzero(pattern == number)
        own = np.where(knows, weights, 0)
        if own.sum() == 0:  # only members of no weight know these rows: better theirs than none
            own = knows.astype(float)
        result[mine] = blend([probs[rows[mine]] for probs in joined.probs], method, own)
    return result


def blend_test(members: list[Member], method: Method, weights: np.ndarray) -> Predictions:
    """The blend of the members' test predictions, each the mean of its folds; one with more folds counts more.

    Raises:
        MismatchError: the test sets are not the same.
    """
    ids = np.sort(next(iter(members[0].test.values())).ids)
    parts = []
    for member in members:
        width = next(iter(member.test.values())).probs.shape[2]
        total = np.zeros((len(ids), width), np.float32)
        for one in member.test.values():
            order = np.argsort(one.ids)
            if not np.array_equal(one.ids[order], ids):
                differ = sorted(set(one.ids.tolist()) ^ set(ids.tolist()))
                raise MismatchError(
                    f"{member.name}: its test set is another one ({list_names(differ, 'id')} in one alone)"
                )
            total += rank_shares(one.merged[order]) if method == "rank" else one.merged[order]
        parts.append(total / len(member.test))
    shares = weights * [len(member.test) for member in members]
    return Predictions(ids, blend(parts, method, shares)[None], {"merge": "mean"})


def join_labels(members: list[Member]) -> Member:
    """One member that knows the labels of all of these, which each know others."""
    labels = [label for member in members for label in member.labels]
    if len(set(labels)) != len(labels):
        doubles = sorted({label for label in labels if labels.count(label) > 1})
        raise MismatchError(
            f"--method join is for members of different labels; {list_names(doubles, 'label')} more than once"
        )

    if not all(TASKS[one.values["task"]].separable for member in members for one in member.oof.values()):
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
                one = of(member).get(fold)
                if one is None or set(one.ids) != set(first.ids):
                    raise MismatchError(f"{member.name} and {members[0].name} need the same rows in fold {fold}")
                place = {name: row for row, name in enumerate(one.ids.tolist())}
                rows = np.array([place[name] for name in first.ids.tolist()])
                parts.append((one.merged[rows], None if one.targets is None else one.targets[rows]))
            groups = [group for member in members for group in member.oof[min(member.oof)].values["label_groups"]]
            values: dict[str, Any] = first.values | {"labels": labels, "label_groups": groups, "merge": "mean"}
            probs = np.concatenate([part for part, _ in parts], 1)[None]
            targets = None if first.targets is None else np.concatenate([part for _, part in parts], 1)
            result[fold] = Predictions(first.ids, probs, values, targets)
        return result

    return Member(
        " + ".join(member.name for member in members),
        join(lambda each: each.oof),
        join(lambda each: each.test) if has_test else {},
    )
