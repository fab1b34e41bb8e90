"""The rule `argmax_each`: the likeliest class of each of several questions an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from imettk.errors import MismatchError
from imettk.metrics.questions import macro_recall, question_accuracy
from imettk.postprocess.fitters import FitContext, RuleFitter
from imettk.postprocess.rule import Rule, column_order
from imettk.tasks import Task
from imettk.tasks.questions import class_of, label_of


@dataclass(frozen=True, kw_only=True)
class LikeliestEach(Rule):
    """The likeliest class of each question.

    Attributes:
        questions: the columns of the training table, (Q,).
        sizes: number of labels of each question, (Q,).
        columns: columns of the submission, in order, if there are several.
    """

    kind: ClassVar[str] = "argmax_each"
    questions: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()

    def parts(self, num_labels: int) -> Iterator[slice]:
        """Yield the range of each question's labels; raise `MismatchError` if the number of labels is wrong."""
        if sum(self.sizes) != num_labels:
            raise MismatchError(f"the rule is for {sum(self.sizes)} labels, the predictions have {num_labels}")
        ends = np.cumsum(self.sizes).tolist()
        yield from map(slice, [0, *ends[:-1]], ends)

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Turn probabilities (N, C) into the label of each question, bool (N, C)."""
        answers = np.zeros(probs.shape, bool)
        for part in self.parts(probs.shape[1]):
            answers[np.arange(len(probs)), part.start + probs[:, part].argmax(1)] = True
        return answers

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """Return the probability of the answer to the most doubtful question, float (N,)."""
        return np.asarray(np.min([probs[:, part].max(1) for part in self.parts(probs.shape[1])], axis=0))

    def cells(self, answers: np.ndarray, labels: Sequence[str], task: Task) -> list[list[str]]:
        return self.known_cells(task.cells(answers, labels), labels, task)

    def known_cells(self, known: list[list[str]], labels: Sequence[str], task: Task) -> list[list[str]]:
        order = self.order()
        return [[class_of(self.questions[place], row[place]) for place in order] for row in known]

    def order(self) -> list[int]:
        """Return the question of each column of the submission, int (Q,); errors as in `column_order`."""
        return column_order(self.columns, self.questions, "questions")

    def is_sound(self) -> bool:
        lists = (self.questions, self.sizes, self.columns)
        return all(isinstance(values, tuple) for values in lists) and (
            len(self.questions) == len(self.sizes) and all(isinstance(size, int) and size > 0 for size in self.sizes)
        )


class LikeliestClasses(RuleFitter):
    """Fitter of the rule `argmax_each`."""

    rule, learns = LikeliestEach, False

    def __init__(self, context: FitContext) -> None:
        super().__init__(context)
        questions = tuple(dict.fromkeys(context.label_groups))
        sizes = tuple(context.label_groups.count(question) for question in questions)
        self._rule = LikeliestEach(questions=questions, sizes=sizes, columns=context.columns)
        self._rule.order()

    def fit(self, probs: np.ndarray, targets: np.ndarray, folds: np.ndarray | None = None) -> Rule:
        return self._rule

    def read_cells(self, cells: Sequence[Sequence[str]]) -> np.ndarray:
        columns = [self._rule.questions[place] for place in self._rule.order()]
        return super().read_cells([[label_of(*pair) for pair in zip(columns, row, strict=True)] for row in cells])

    def tell(self, rule: Rule, answers: np.ndarray, probs: np.ndarray, targets: np.ndarray) -> str | None:
        """Return the scores of each question."""
        parts = self.part_scores(answers, targets).items()
        return "; ".join(f"{name}: {', '.join(f'{key} {part[key]:.4f}' for key in part)}" for name, part in parts)

    def part_scores(self, answers: np.ndarray, targets: np.ndarray) -> dict[str, dict[str, float]]:
        """Return accuracy and macro recall of each question; answers bool and targets uint8, (N, C)."""
        scores = {}
        for name, part in zip(self._rule.questions, self._rule.parts(targets.shape[1]), strict=True):
            pair = answers[:, part], targets[:, part]
            scores[name] = {"accuracy": question_accuracy(*pair), "macro recall": macro_recall(*pair)}
        return scores
