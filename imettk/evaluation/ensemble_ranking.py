"""`ensemble` of runs whose answers are ranked identities: embeddings joined, or scores fused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from imettk.config import Recipe
from imettk.data.csv_files import list_names
from imettk.data.sample_table import LabelledTable
from imettk.data.table import read_table
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.embeddings import FoldFiles, TableRows, read_fold_files
from imettk.evaluation.identities import judge, nearest_images, tell_ranking, threshold_of_test
from imettk.evaluation.members import blend_known, blend_test, join_members, read_member, require_current_labels
from imettk.evaluation.paired import keep_judged_rankings
from imettk.evaluation.ranker import Gallery, Ranker, stack
from imettk.evaluation.submit import label_rows, submit
from imettk.experiment.rule_file import keep_rule
from imettk.inference.retrieval import join_embeddings
from imettk.postprocess.blend import Method
from imettk.postprocess.fusion import fuse
from imettk.postprocess.ranking import Ranked
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir


def ensemble_rankings(
    recipe: Recipe, data_dir: Path, run: RunDir, *, members: list[Path], method: str, weights: list[float] | None
) -> None:
    """Write `ensemble.json`, `rule.json`, `scores.json` and, where all have predicted the test set, `submission.csv`.

    Arguments as of `ensemble`.
    """
    table = read_table(recipe.table, data_dir)
    chosen = np.array(weights or [1.0] * len(members), np.float64)
    kind = EmbeddingEnsemble if recipe.ranking.by == "neighbours" else ProbsEnsemble
    group = kind(recipe, table, members, method, chosen / chosen.sum())
    ranker = group.ranker
    run.save_recipe(recipe)
    kept = {path.name: float(weight) for path, weight in zip(members, group.weights, strict=True)}
    content: dict[str, Any] = {"method": method, "weights": kept}
    if len(group.rows):
        content["members"] = _judge(run, table, members, group)
    else:
        say("note: nothing was validated: no score")
    write_json(run.path / "ensemble.json", content)
    if lacking := group.lacking_test:
        say(f"note: no submission: {list_names(lacking, 'member')} without test predictions; run `imettk infer` there")
        return
    if ranker.config.answers == "images" and isinstance(group, EmbeddingEnsemble):
        ids, answers = group.nearest_images()
    else:
        ids, ranked = group.rank_test()
        answers = label_rows(ranker.answer(ranked, threshold_of_test(ranker, ranked, run)), ranker.names)
    submit(recipe, data_dir, run, ids, answers, f"of {len(members)} members", num_answers=recipe.ranking.num_answers)


def _judge(
    run: RunDir, table: LabelledTable, members: list[Path], group: EmbeddingEnsemble | ProbsEnsemble
) -> dict[str, dict[str, float | None]]:
    """Write and print the ensemble's scores; return, by member, its own score and its gain."""
    ranker, everyone = group.ranker, list(range(len(members)))
    ranked, truth = group.rank(everyone)
    answers, scores = judge(ranker, ranked, truth, group.row_folds, table.take(group.rows))
    keep_judged_rankings(run, table.take(group.rows), answers, truth)
    gains: dict[str, dict[str, float | None]] = {}
    say(f"{'member':<32}{'weight':>8}{'OOF':>9}{'gain':>9}")
    for number, path in enumerate(members):
        alone = _score_of(group, [number])
        others = [member for member in everyone if member != number]
        gain = ranker.scorer.gain(scores["oof"], _score_of(group, others)) if others else None
        gains[path.name] = {"oof": alone, "gain": gain}
        text = "" if gain is None else f"{gain:+9.4f}"
        say(f"{path.name:<32}{group.weights[number]:>8.3f}{alone:>9.4f}{text}")
    threshold = ranker.fit(ranked, truth)
    content = {"kind": "rank", "unknown_threshold": threshold}
    keep_rule(run, content, ranker.recipe, ranker.labels, np.unique(group.row_folds))
    write_json(run.path / "scores.json", scores)
    tell_ranking(ranker, scores, threshold)
    return gains


def _score_of(group: EmbeddingEnsemble | ProbsEnsemble, members: list[int]) -> float:
    ranked, truth = group.rank(members)
    return group.ranker.score(group.ranker.cross_fit(ranked, truth, group.row_folds), truth)


def _weights_of(weights: np.ndarray, chosen: list[int]) -> np.ndarray:
    """Return the weights of some members, 0 for all others, (M,); members of weight 0 by themselves count alike."""
    kept = np.where(np.isin(np.arange(len(weights)), chosen), weights, 0.0)
    if not kept.any():
        kept[chosen] = 1.0
    return kept


class ProbsEnsemble:
    """Several classifiers of the same classes and folds, blended as `blend` does it.

    Args:
        weights: of the members, float64 (M,).
    """

    def __init__(
        self, recipe: Recipe, table: LabelledTable, paths: list[Path], method: str, weights: np.ndarray
    ) -> None:
        if method not in ("mean", "geometric", "rank", "max"):
            raise ConfigError(f"--method {method} is not for ranked classes: take mean, geometric, rank or max")
        self.ranker, self.weights = Ranker(recipe, table), weights
        self._method: Method = method  # type: ignore[assignment]
        self._members = [read_member(path) for path in paths]
        self._joined = join_members(self._members, ranks=method == "rank")
        for member in self._members:
            require_current_labels(member.name, member.oof.values(), table)
        self.rows = TableRows(table).rows(self._joined.ids)
        self.row_folds = self._joined.folds

    @property
    def lacking_test(self) -> list[str]:
        """Names of members that have not predicted the test set."""
        return [member.name for member in self._members if not member.test]

    def rank(self, chosen: list[int]) -> tuple[Ranked, np.ndarray]:
        """Return out-of-fold rankings by some of the members, and the truth."""
        probs = blend_known(self._joined, self._method, _weights_of(self.weights, chosen))
        return self.ranker.by_probs(probs), self.ranker.truth(self._joined.targets)

    def rank_test(self) -> tuple[np.ndarray, Ranked]:
        """Return ids and rankings of the test rows."""
        test = blend_test(self._members, self._method, self.weights)
        return test.ids, self.ranker.by_probs(test.merged)


class EmbeddingEnsemble:
    """Several runs with embeddings of the same table and folds.

    Args:
        method: `mean` joins the embeddings: similarities are their weighted mean; `fuse` takes the weighted mean of the
            identities' scores, each ranked by a single member.
        weights: of the members, float64 (M,).
    """

    def __init__(
        self, recipe: Recipe, table: LabelledTable, paths: list[Path], method: str, weights: np.ndarray
    ) -> None:
        if method not in ("mean", "fuse"):
            raise ConfigError(
                f"--method {method} is not for embeddings: take mean (joined embeddings) or fuse (scores)"
            )
        self.ranker = Ranker(recipe, table)
        self._table, self._method, self.weights = table, method, weights
        self.names = [path.name for path in paths]
        self._rows = TableRows(table)
        members = [read_fold_files(path) for path in paths]
        for name, files in zip(self.names, members, strict=True):
            known = [file for fold in files.values() for file in fold.known if file.targets is not None]
            require_current_labels(name, known, table)
        self.folds = sorted(set.intersection(*(set(files) for files in members)))
        if not self.folds:
            raise MismatchError("the members have no fold in common: they need the same folds")
        self._members = members
        rows = [self._oof_rows(members[0][fold]) for fold in self.folds]
        self.rows, self.row_folds = np.concatenate(rows), np.repeat(self.folds, [len(part) for part in rows])
        for fold, mine in zip(self.folds, rows, strict=True):
            for name, member in zip(self.names, members, strict=True):
                if not np.array_equal(np.sort(self._oof_rows(member[fold])), np.sort(mine)):
                    raise MismatchError(
                        f"{name}: fold {fold} has other rows than {self.names[0]}'s: members need the same folds.csv"
                    )

    def rank(self, chosen: list[int]) -> tuple[Ranked, np.ndarray]:
        """Return out-of-fold rankings by some of the members, and the truth."""
        parts, truths = [], []
        for fold in self.folds:
            rows = self._oof_rows(self._members[0][fold])
            pairs = []
            for member in chosen:
                files = self._members[member][fold]
                everything = self._rows.scatter(files.known)
                queries, hidden = everything[rows], everything.copy()
                hidden[rows] = np.nan  # a query must not find its own image
                pairs.append((queries, hidden))
            parts.append(self._ranked(pairs, chosen))
            gallery_rows = self._rows.rows(self._members[chosen[0]][fold].gallery.ids)
            truths.append(self.ranker.truth(self._targets[rows], np.unique(self._targets[gallery_rows])))
        return stack(parts), np.concatenate(truths)

    def rank_test(self) -> tuple[np.ndarray, Ranked]:
        """Return ids and rankings of the test rows, by all folds of all members."""
        ids, pairs, chosen = self._test_pairs()
        return ids, self._ranked(pairs, chosen, own=self._rows.own(ids))

    def nearest_images(self) -> tuple[np.ndarray, list[list[str]]]:
        """Return ids of the test rows, and of the images nearest to each, in train and test together."""
        ids, pairs, chosen = self._test_pairs()
        queries, gallery = (
            join_embeddings([pair[side] for pair in pairs], self.weights[chosen].tolist()) for side in (0, 1)
        )
        return ids, nearest_images(self.ranker, queries, ids, gallery, self._table.ids)

    def _test_pairs(self) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]], list[int]]:
        """Return ids of the test rows; their embeddings and the table's by each fold of each member; and that member.

        Raises:
            MismatchError: the members' test sets are not the same.
        """
        pairs: list[tuple[np.ndarray, np.ndarray]] = []
        chosen, ids = [], np.zeros(0, np.str_)
        for number, member in enumerate(self._members):
            for files in member.values():
                assert files.test is not None  # the caller has looked
                order = np.argsort(files.test.ids)
                if len(ids) and not np.array_equal(files.test.ids[order], ids):
                    differ = sorted(set(files.test.ids.tolist()) ^ set(ids.tolist()))
                    raise MismatchError(
                        f"{self.names[number]}: its test set is another one ({list_names(differ, 'id')})"
                    )
                ids = files.test.ids[order]
                pairs.append((files.test.merged_embeddings[order], self._rows.scatter(files.known)))
                chosen.append(number)
        return ids, pairs, chosen

    @property
    def lacking_test(self) -> list[str]:
        """Names of members that have not predicted the test set."""
        folds = zip(self.names, self._members, strict=True)
        return [name for name, member in folds if any(files.test is None for files in member.values())]

    @property
    def _targets(self) -> np.ndarray:
        return self._table.targets

    def _ranked(
        self, pairs: list[tuple[np.ndarray, np.ndarray]], members: list[int], *, own: np.ndarray | None = None
    ) -> Ranked:
        """Rank by pairs of queries and gallery, each of one member; `own` as in `Ranker.by_neighbours`."""
        weights = _weights_of(self.weights, members)[members]
        if self._method == "mean":
            queries, gallery = (join_embeddings([pair[side] for pair in pairs], weights.tolist()) for side in (0, 1))
            return self.ranker.by_neighbours(queries, Gallery(gallery, self._targets), own=own)
        depth = min(self.ranker.config.num_neighbours, self.ranker.num_labels)
        each = [
            self.ranker.by_neighbours(queries, Gallery(gallery, self._targets), own=own, depth=depth)
            for queries, gallery in pairs
        ]
        return fuse(each, weights, num_labels=self.ranker.num_labels, k=self.ranker.depth)

    def _oof_rows(self, files: FoldFiles) -> np.ndarray:
        return np.zeros(0, np.int64) if files.oof is None else self._rows.rows(files.oof.ids)
