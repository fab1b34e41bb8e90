"""Judge of runs whose answers come from probabilities (or values) by a fitted rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from imettk.config import Recipe
from imettk.data.labels import find_titles
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.evaluation.curve import loss_of
from imettk.evaluation.ensemble import ensemble_by_rule
from imettk.evaluation.evidence import keep_errors
from imettk.evaluation.judge import Answers, ImageAnswerer, Judge
from imettk.evaluation.oof_judge import OofJudge
from imettk.evaluation.pictures import Album
from imettk.evaluation.pseudo import check_selection, pseudo_by_rule
from imettk.evaluation.rules import fitter_of, merge_outputs, pool_from_json, rule_from_json, score_quickly
from imettk.evaluation.scoring import OutOfFold, judge_oof, tell_drift
from imettk.evaluation.units import Pooled, Units
from imettk.experiment.predictions import TrainedModels
from imettk.experiment.prepared import Experiment, Prepared
from imettk.experiment.rule_file import read_rule
from imettk.experiment.scaling import scale_of, unscale
from imettk.inference.predictor import Predictions, mean_of_folds
from imettk.metrics import METRICS
from imettk.models.heads import Outputs
from imettk.postprocess.fitters import RuleFitter
from imettk.postprocess.pseudo import Selection
from imettk.tracking.run_dir import RunDir


class RuleJudge(Judge):
    """Judge of the rules of `postprocess.fitters`, and of a user's own."""

    def judge_fold(self, prepared: Prepared, fold: int, outputs: Outputs, gallery: Outputs | None) -> dict[str, float]:
        """Return loss and score, the latter by a rule fitted on the same rows."""
        recipe, table = self.recipe, prepared.table.take(prepared.rows(fold, valid=True))
        targets, units = table.targets, Units(recipe, table)
        fitter = fitter_of(recipe, table.label_groups, prepared.given_shares, labels=table.labels)
        scale = scale_of(recipe, prepared, fold)
        probs = recipe.task.activate(unscale(outputs.logits, scale)).numpy()
        learned = targets if scale is None else scale.forward(targets)
        loss_fn = loss_of(recipe, label_groups=table.label_groups, answered=True)
        loss = float(loss_fn(outputs, torch.from_numpy(learned)).mean())
        probs, targets = units.pool(probs), units.table.targets
        metrics = {"loss": loss, "score": score_quickly(fitter, probs, targets)}
        for name, metric in recipe.task.watched.items():
            metrics[name] = METRICS[metric].bound(recipe.task.targets).score(probs, targets)
        return metrics

    def validate(self, experiment: Experiment, data_dir: Path, folds: list[int]) -> bool:
        recipe, run, prepared = self.recipe, experiment.run, experiment.prepared
        models = TrainedModels.of(experiment)
        predictions = {
            fold: models.predict(fold, "oof", prepared.images(prepared.rows(fold, valid=True))) for fold in folds
        }
        rows = np.flatnonzero(np.isin(prepared.folds, folds))
        units = Units(recipe, prepared.table.take(rows))
        table, row_folds = units.table, units.folds(prepared.folds[rows])
        probs = _collect(prepared, {fold: part.merged for fold, part in predictions.items()})
        fitter = fitter_of(recipe, table.label_groups, prepared.given_shares, labels=table.labels)
        pooled = units.choose(fitter, probs, row_folds)
        units.tell(pooled, fitter)
        more = {}
        views = recipe.predict.views
        if len(views) > 1 and all(len(part.probs) == len(views) for part in predictions.values()):  # else imported
            more["views"] = self._view_scores(prepared, fitter, predictions, pooled, units)
        oof = OutOfFold(fitter, table, pooled, row_folds)
        _, answers = judge_oof(recipe, data_dir, run, oof, more=more)
        first = rows[units.first]
        keep_errors(recipe, run, table, source=prepared.source, rows=first, probs=pooled.probs, answers=answers)
        return True

    def _view_scores(
        self,
        prepared: Prepared,
        fitter: RuleFitter,
        predictions: dict[int, Predictions],
        pooled: Pooled,
        units: Units[LabelledTable],
    ) -> dict[str, float]:
        """Return the score of each view alone, and of all together: only the differences count."""
        targets, scores = units.table.targets, {}
        for number, view in enumerate(self.recipe.predict.views):
            probs = _collect(prepared, {fold: part.probs[number] for fold, part in predictions.items()})
            scores[view] = score_quickly(fitter, units.pool(probs, pooled.pool), targets)
        return scores | {"together": score_quickly(fitter, pooled.probs, targets)}

    def require_rule(self, run: RunDir, labelled: LabelledTable, folds: list[int]) -> None:
        content = read_rule(run, self.recipe, labelled.labels, folds)
        pool_from_json(self.recipe, content)
        rule_from_json(self.recipe, content)

    def answer_test(
        self, data_dir: Path, run: RunDir, table: SampleTable, tests: Iterator[tuple[int, Predictions]]
    ) -> tuple[Answers, np.ndarray | None]:
        """Answer the mean of all folds by the rule that `validate` fitted."""
        content = read_rule(run, self.recipe, table.labels)
        rule = rule_from_json(self.recipe, content)
        mean = mean_of_folds(predictions for _, predictions in tests)
        probs = Units(self.recipe, table).pool(mean, pool_from_json(self.recipe, content))
        answers = rule.apply(probs)
        tell_drift(rule, answers)
        return rule.cells(answers, table.labels, self.recipe.task), probs

    def known_cells(self, run: RunDir, labelled: LabelledTable, known: dict[str, str]) -> dict[str, list[str]]:
        rule = rule_from_json(self.recipe, read_rule(run, self.recipe, labelled.labels))
        cells = super().known_cells(run, labelled, known)
        return dict(zip(cells, rule.known_cells(list(cells.values()), labelled.labels, self.recipe.task), strict=True))

    def put_known(
        self, known: dict[str, list[str]], labelled: LabelledTable, table: SampleTable, answers: Answers
    ) -> Answers:
        return [known.get(name, row) for name, row in zip(table.ids, answers, strict=True)]

    def score_answers(
        self, labelled: LabelledTable, table: SampleTable, answers: Answers, truth: np.ndarray, tests: np.ndarray | None
    ) -> tuple[str, float | None]:
        fitter = fitter_of(self.recipe, labelled.label_groups, labels=labelled.labels)
        given = fitter.read_cells(answers) if fitter.judges_answers else tests
        if given is None:
            return fitter.scorer.title, None
        return fitter.scorer.title, fitter.scorer.score(*fitter.judged(given, given, truth))

    def image_answerer(self, data_dir: Path, run: RunDir, folds: list[int], labels: tuple[str, ...]) -> ImageAnswerer:
        return _RuleAnswerer(self.recipe, data_dir, run, folds, labels)

    def check_pseudo(self, selection: Selection, folds: Sequence[int]) -> None:
        check_selection(self.recipe, selection, folds)

    def pseudo_labels(self, run: RunDir, selection: Selection, *, out: Path | None = None) -> None:
        pseudo_by_rule(self.recipe, run, selection, out=out)

    def oof_judge(self, prepared: Prepared) -> OofJudge:
        return OofJudge(self.recipe, prepared)

    def ensemble(
        self, data_dir: Path, run: RunDir, *, members: list[Path], method: str, weights: list[float] | None
    ) -> None:
        ensemble_by_rule(self.recipe, data_dir, run, members=members, method=method, weights=weights)


class _RuleAnswerer(ImageAnswerer):
    """Labels of single pictures, with their probabilities."""

    def __init__(self, recipe: Recipe, data_dir: Path, run: RunDir, folds: list[int], labels: tuple[str, ...]) -> None:
        self._recipe = recipe
        self._titles = find_titles(recipe.table, data_dir, labels) or labels
        self._rule = rule_from_json(recipe, read_rule(run, recipe, labels, folds))

    def answer(self, outputs: list[Outputs], rows: np.ndarray, pictures: Album) -> list[str]:
        merged = merge_outputs(self._recipe, outputs, rows)
        answers, task = self._rule.apply(merged), self._recipe.task
        if task.numeric:
            rows_of_cells = task.cells(answers, self._titles)
            return [", ".join(map(" ".join, zip(self._titles, row, strict=True))) for row in rows_of_cells]
        probs = task.label_probs(answers if self._recipe.rule_row.answers_numbers else merged)
        return [
            self._with_probs(task.labels_of(answer), row)
            for answer, row in zip(self._rule.decisions(answers), probs, strict=True)
        ]

    def _with_probs(self, labels: np.ndarray, probs: np.ndarray) -> str:
        """Return a picture's labels, int64 (M,), with their probabilities, the most likely first."""
        likely = sorted(labels.tolist(), key=lambda label: -probs[label])
        return ", ".join(f"{self._titles[label]} ({probs[label]:.2f})" for label in likely) or "no label"


def _collect(prepared: Prepared, parts: dict[int, np.ndarray]) -> np.ndarray:
    """Return predictions of some folds' rows, (M, O) each, in the order of the table, (N, O)."""
    rows = np.concatenate([prepared.rows(fold, valid=True) for fold in parts])
    return np.concatenate(list(parts.values()))[np.argsort(rows, kind="stable")]
