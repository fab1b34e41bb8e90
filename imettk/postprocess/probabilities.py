"""The rule `probability`: probabilities as answers, in one column, one column per label, or behind labels in a cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from imettk.errors import ConfigError
from imettk.metrics import LABELS, Scorer
from imettk.postprocess.calibration import MOST, fit_calibration, with_temperature
from imettk.postprocess.fitters import FitContext, RuleFitter
from imettk.postprocess.pseudo import row_confidence
from imettk.postprocess.rule import Rule, top_labels
from imettk.tasks import Task

LARGEST = 5_000_000  # most probabilities to fit a temperature to; larger tables are sampled by row
ROUNDING = 1e-6  # of a row's sum of float32 probabilities
DECIDED = 0.5  # labels from this probability on are shown as chosen in tables and pictures


@dataclass(frozen=True, kw_only=True)
class Probabilities(Rule):
    """Answers are the probabilities themselves, float (N, C).

    Attributes:
        exclusive: labels exclude each other.
        positive: label of a single probability column; None if there is one label, or labels are 0 and 1.
        columns: columns of the submission, in order, if each label has its own.
        temperature: divisor of logits; 1 changes nothing.
        clip: probabilities are then clipped to [clip, 1 - clip].
        pairs: number of labels written to one cell with their probabilities, likeliest first; None for columns.
    """

    kind: ClassVar[str] = "probability"
    exclusive: bool = False
    positive: str | None = None
    columns: tuple[str, ...] = ()
    temperature: float = 1.0
    clip: float = 0.0
    pairs: int | None = None

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities; rows of exclusive labels sum to 1, even if those of a blend did not."""
        answers = probs
        if self.temperature != 1:
            answers = with_temperature(probs, self.temperature, exclusive=self.exclusive)
        if self.clip:
            answers = self._clipped(answers)
        return _sum_to_one(answers) if self.exclusive else answers

    def is_sound(self) -> bool:
        numbers = (self.temperature, self.clip)
        return all(isinstance(number, int | float) for number in numbers) and (
            1 / MOST <= self.temperature <= MOST
            and 0 <= self.clip < 0.5
            and (self.pairs is None or (isinstance(self.pairs, int) and self.pairs >= 1))
        )

    def _clipped(self, answers: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(answers, self.clip, 1 - self.clip, dtype=np.float64))

    def decisions(self, answers: np.ndarray) -> np.ndarray:
        return answers.argmax(1) if self.exclusive else answers >= DECIDED

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        probs = self.apply(probs)
        return row_confidence(probs, None if self.exclusive else np.full(probs.shape[1], DECIDED))

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return the numbers of each row with nine digits; those of exclusive labels sum to 1."""
        probs = answers.astype(np.float64)
        if self.exclusive:
            probs = probs / probs.sum(1, keepdims=True)
        if self.pairs is not None:
            return self._pairs(probs, labels, self.pairs)
        return [[f"{prob:.9g}" for prob in row] for row in probs[:, self.places(labels)].tolist()]

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        """Return 1 for labels that a row is known to have and 0 for others, clipped like all probabilities."""
        targets = task.make_targets(known, {label: number for number, label in enumerate(labels)}, len(labels))
        return self.cells(self._clipped(task.soft_answers(targets, len(labels))), labels, task)

    def read_cells(self, cells: Sequence[Sequence[str]], labels: Sequence[str]) -> np.ndarray:
        """Return the probabilities in these cells, float64 (N, C); labels that a cell omits get 0."""
        answers = np.zeros((len(cells), len(labels)))
        if self.pairs is None:
            answers[:, self.places(labels)] = np.array(cells, np.float64)
            return answers
        number = {label: place for place, label in enumerate(labels)}
        for row, cell in zip(answers, cells, strict=True):
            row[[number[label] for label in cell[::2]]] = [float(prob) for prob in cell[1::2]]
        return answers

    def _pairs(self, probs: np.ndarray, labels: Sequence[str], count: int) -> list[list[str]]:
        """Return each row's likeliest labels, each followed by its probability; labels of probability 0 are omitted."""
        tops = top_labels(probs, count)
        rows = zip(tops.tolist(), np.take_along_axis(probs, tops, 1).tolist(), strict=True)
        return [
            [word for place, prob in zip(*row, strict=True) if prob > 0 for word in (labels[place], f"{prob:.9g}")]
            for row in rows
        ]

    def places(self, labels: Sequence[str]) -> list[int]:
        """Return the label of each column of the submission, int (K,).

        Raises:
            ConfigError: a column is not a label, or it is unknown which label a single column is for.
        """
        number = {label: place for place, label in enumerate(labels)}
        if self.pairs is not None:
            return list(number.values())
        if self.columns:
            if strange := [column for column in self.columns if column not in number]:
                raise ConfigError(
                    f"`table.answer_columns` {', '.join(strange)}: not a label; labels are {_some(labels)}"
                )
            return [number[column] for column in self.columns]
        positive = self.positive
        if positive is None:
            positive = labels[0] if len(labels) == 1 else "1" if set(labels) == {"0", "1"} else None
        if positive is None:
            raise ConfigError(
                "the submission has one column for probabilities: set --rule.positive to its label, one of "
                f"{_some(labels)}, or give each label a column in `table.answer_columns`"
            )
        if positive not in number:
            raise ConfigError(f"`rule.positive` {positive!r} is not a label; labels are {_some(labels)}")
        return [number[positive]]


class LabelProbabilities(RuleFitter):
    """Fitter of the rule `probability`."""

    rule = Probabilities

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        self.learns = context.plan.calibrate is not None
        exclusive = context.task is not None and context.task.exclusive
        plan, all_places = context.plan, list(range(len(context.labels)))
        self._rule = Probabilities(
            exclusive=exclusive, positive=plan.positive, columns=context.columns, pairs=plan.pairs
        )
        places = sorted(self._rule.places(context.labels))
        self._judged = None if places == all_places else places
        if self._judged is not None and LABELS not in self.scorer.metric.targets:
            raise ConfigError(
                f"`score.metric` {self.scorer.name} judges all classes of a row, and `table.answer_columns` names "
                f"{len(places)} of {len(context.labels)}: name all of them, or choose a metric of single labels"
            )

    @property
    def scorer(self) -> Scorer:
        # Single columns of classes no longer exclude each other: they are judged as labels.
        return super().scorer if self._judged is None else replace(super().scorer, targets=LABELS)

    @property
    def judges_answers(self) -> bool:
        return True

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        if not self.learns:
            return self._rule

        if probs.size > LARGEST:
            rows = np.random.default_rng(0).permutation(len(probs))[: max(1, LARGEST // probs.shape[1])]
            probs, targets = probs[rows], targets[rows]

        def loss(temperature: float, clip: float) -> float:
            return self._loss(replace(self._rule, temperature=temperature, clip=clip).apply(probs), probs, targets)

        temperature, clip = fit_calibration(loss)
        return replace(self._rule, temperature=temperature, clip=clip)

    def fit_quickly(self, probs: np.ndarray, targets: np.ndarray) -> Rule:
        return self._rule

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        if not self.learns or not isinstance(rule, Probabilities):
            return None
        before, after = (self._loss(predicted, probs, targets) for predicted in (self._rule.apply(probs), answers))
        return (
            f"calibrated: temperature {rule.temperature:.3f}, probabilities in [{rule.clip:g}, {1 - rule.clip:g}]; "
            f"{self.scorer.title} {before:.4f} before, {after:.4f} after"
        )

    def _loss(self, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> float:
        """Return the metric as a loss: lower is better."""
        return -self.scorer.gain(self.scorer.score(*self.judged(answers, probs, targets)), 0.0)

    def judged(self, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the submitted columns, and the targets of their labels; everything unchanged if all are submitted."""
        task, labels = self.context.task, self.context.labels
        if self._judged is None or task is None:
            return answers, targets
        return answers[:, self._judged], task.label_matrix(targets, len(labels))[:, self._judged].astype(np.uint8)

    def read_cells(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        return self._rule.read_cells(cells, self.context.labels)


def _sum_to_one(probs: np.ndarray) -> np.ndarray:
    """Divide rows whose sum is not 1 by their sum; the rounding error of float32 is left alone."""
    sums = probs.sum(1, keepdims=True, dtype=np.float64)
    off = np.abs(sums - 1) > ROUNDING
    return np.where(off, probs / sums, probs) if off.any() else probs


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
