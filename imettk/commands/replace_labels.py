"""`neighbours`: labels of near images in place of a classifier's answers, and probable label errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import Recipe
from imettk.data.csv_files import list_names
from imettk.data.sample_table import SampleTable
from imettk.data.source import ImageSource
from imettk.data.table import read_table
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.embeddings import TableRows, read_fold_files
from imettk.evaluation.members import Joined, blend_test, join_members, read_member, require_current_labels
from imettk.evaluation.pictures import Album, list_conflicts
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.submit import submit
from imettk.experiment.prepared import read_shares
from imettk.experiment.value_range import reader_of
from imettk.files import write_atomically
from imettk.inference.retrieval import Neighbours, find_neighbours, join_embeddings
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.honest import cross_fit
from imettk.postprocess.neighbours import (
    NEVER,
    best_threshold,
    cross_fit_threshold,
    replace_labels,
    scan_thresholds,
    standardise,
)
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.run_dir import RunDir

NUM_NEAR = 10  # neighbours that vote on a row's labels


def neighbours(recipe: Recipe, data_dir: Path, run: RunDir, *, classifier: Path, features: Path) -> None:
    """Write `neighbours.csv` (threshold, replaced rows, score), `label_conflicts.csv` and `.png`, `submission.csv`.

    Args:
        recipe: of the classifier.
        classifier: run folder with its predictions.
        features: run folder with embeddings of the same images, learned for some other labels.

    Raises:
        ConfigError: the classifier's rows have one label each, or several images give one answer.
        MismatchError: the two runs share no rows.
    """
    if recipe.task.exclusive:
        raise ConfigError("label sets are replaced where rows have several labels, and this recipe's have one each")
    if recipe.table.has_units:
        raise ConfigError("label sets are replaced image by image, and this recipe answers units of several images")
    table = read_table(recipe.table, data_dir)
    embedded = _Embedded(table, features)
    member = read_member(classifier)
    joined = join_members([member])
    require_current_labels(member.name, member.oof.values(), table)
    near = embedded.out_of_fold()
    shares = read_shares(recipe, data_dir, table.labels)
    fitter = fitter_of(recipe, table.label_groups, shares, labels=table.labels)
    rows = TableRows(table).rows(joined.ids)
    own = Neighbours(near.rows[rows], near.similarities[rows])
    if not (own.rows[:, 0] >= 0).any():
        raise MismatchError(
            f"{features} has embedded none of the rows that {classifier} validated: are they of one table?"
        )
    threshold = _fit(recipe, run, fitter, joined, own, table)
    source = ImageSource(table, reader_of(recipe, run))
    texts = [recipe.table.label_separator.join(cell) for cell in recipe.task.cells(table.targets, table.labels)]
    list_conflicts(run.path, Album(table, source), near, table.targets, texts, task=recipe.task)
    if not member.test or embedded.lacks_test:
        say("note: no submission: run `imettk infer` for both runs first")
        return
    test = blend_test([member], "mean", np.ones(1))
    rule = fitter.fit(joined.probs[0], joined.targets, joined.folds)
    near = embedded.of_test(test.ids)
    answers, replaced = replace_labels(
        rule.apply(test.merged), near.rows[:, 0], near.similarities[:, 0], table.targets, threshold=threshold
    )
    what = f"{int(replaced.sum())} of them those of a neighbour"
    submit(recipe, data_dir, run, test.ids, recipe.task.cells(answers, table.labels), what)


class _Embedded:
    """Embeddings of a metric model, as rows of another table."""

    def __init__(self, table: SampleTable, folder: Path) -> None:
        self._table, self._folder, self._folds = table, folder, read_fold_files(folder)
        self._rows = TableRows(table)

    @property
    def lacks_test(self) -> bool:
        """True if some fold has not embedded the test set."""
        return any(files.test is None for files in self._folds.values())

    def out_of_fold(self) -> Neighbours:
        """Return the neighbours of each row, by the fold that has not trained on it and standardised by its rows."""
        shape = len(self._table), NUM_NEAR
        result = Neighbours(np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32))
        for files in self._folds.values():
            if files.oof is None:
                continue
            gallery = self._rows.scatter([files.gallery])
            if np.isnan(gallery).all():
                raise MismatchError(f"{self._folder} has embedded none of the table's rows: is --features another one?")
            rows = self._rows.find(files.oof.ids)
            queries, rows = files.oof.merged_embeddings[rows >= 0], rows[rows >= 0]
            near = find_neighbours(standardise(queries, gallery), standardise(gallery, gallery), NUM_NEAR)
            result.rows[rows], result.similarities[rows] = near
        return result

    def of_test(self, ids: np.ndarray) -> Neighbours:
        """Return the neighbours of test rows; similarities are averaged over all folds.

        Raises:
            MismatchError: the test sets are not the same.
        """
        queries, galleries = [], []
        for files in self._folds.values():
            assert files.test is not None
            order = np.argsort(files.test.ids)
            if not np.array_equal(files.test.ids[order], np.sort(ids)):
                differ = sorted(set(files.test.ids.tolist()) ^ set(ids.tolist()))
                raise MismatchError(
                    f"the two runs have different test sets: {list_names(differ, 'id')} only in one of them"
                )
            gallery = self._rows.scatter(files.known)
            place = order[np.searchsorted(files.test.ids[order], ids)]
            queries.append(standardise(files.test.merged_embeddings[place], gallery))
            galleries.append(standardise(gallery, gallery))
        return find_neighbours(join_embeddings(queries), join_embeddings(galleries), NUM_NEAR)


def _fit(
    recipe: Recipe, run: RunDir, fitter: RuleFitter, joined: Joined, near: Neighbours, table: SampleTable
) -> float:
    """Return the best threshold on out-of-fold answers; print the effect of each, and the honest gain."""
    probs, truth, folds = joined.probs[0], joined.targets, joined.folds
    several = len(np.unique(folds)) > 1
    if several:
        answers, _ = cross_fit(fitter.on(probs, truth, folds), probs, folds)
    else:
        answers = fitter.fit(probs, truth).apply(probs)
    rows, similarities, sets = near.rows[:, 0], near.similarities[:, 0], table.targets
    assert sets is not None
    if (goal := fitter.goal) is None:
        raise ConfigError("label sets replace answers of a rule that is fitted for an F-beta, and this recipe's is not")

    def score_of(some: np.ndarray, right: np.ndarray) -> float:
        return recipe.scorer.score(some, right)

    def fit(some: np.ndarray) -> float:
        return best_threshold(answers[some], truth[some], rows[some], similarities[some], sets, goal).threshold

    scanned, _ = scan_thresholds(answers, truth, rows, similarities, sets, score_of)
    threshold = fit(np.arange(len(truth)))
    name = recipe.scorer.title
    say(f"  {'threshold':>9}{'replaced':>10}{'changed':>9}{'right before':>14}{'and after':>11}{name:>12}")
    for scan in scanned:
        shown = "never" if scan.threshold == NEVER else f"{scan.threshold:.2f}"
        counts = f"{scan.replaced:>10}{scan.changed:>9}{scan.right_before:>14}{scan.right_after:>11}"
        say(f"  {shown:>9}{counts}{scan.score:>12.4f}")
    run.path.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(scanned).to_csv(index=False, float_format="%.6g")
    write_atomically(run.path / "neighbours.csv", frame.encode())
    result = {
        "metric": recipe.scorer.name,
        "title": name,
        "threshold": threshold if np.isfinite(threshold) else None,
        "before": scanned[0].score,
    }
    if several:
        after, _ = cross_fit_threshold(fit, answers, rows, similarities, sets, folds)
        honest = result["oof"] = score_of(after, truth)
        gain = honest - scanned[0].score
        say(f"  OOF      {name} {honest:.4f} with thresholds of the other folds ({gain:+.4f})")
    write_json(run.path / "scores.json", result)
    say("no threshold gains: nothing is replaced" if threshold == NEVER else f"best threshold {threshold:.4f}")
    return threshold
