"""What every task says of itself; the rest of the package asks here, never which task it is."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from imettk.tasks.scale import Kind, Scale

NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*", re.IGNORECASE)  # in a cell
REPORTED_EPS = {"eps": 1e-7}  # of the log loss that is kept beside a recipe's metric, as in earlier versions


def numbers_of(labels: Sequence[str]) -> np.ndarray | None:
    """Return labels as the numbers that they are, float64 (K,); None where one is no number."""
    return np.array([float(label) for label in labels]) if all(map(NUMBER.fullmatch, labels)) else None


def is_finite(cell: str) -> bool:
    """Return whether a cell holds a number that float32 has."""
    return NUMBER.fullmatch(cell) is not None and bool(abs(float(cell)) <= np.finfo(np.float32).max)


def grades_of(labels: Sequence[str]) -> np.ndarray | None:
    """Return labels as the grades that they are, rising, float64 (K,); None where they are no numbers that rise."""
    grades = numbers_of(labels)
    return grades if grades is not None and (np.diff(grades) > 0).all() else None


class Task(ABC):
    """How cells of a table become targets, what the network gives for them, and how rows count.

    In shapes, N is the number of rows, C of labels, and O of the network's outputs.

    Attributes:
        targets: the form of targets, which losses, metrics and rules name as what they take.
        loss: the default of `train.loss`.
        rule: the default of `rule.kind`.
        exclusive: a row has exactly one label, so that its cell is never split.
        numeric: a row has a number for each label, which is the name of a column, and these are learned and answered.
        votes: or they say how many votes each label has, whose shares are learned.
        asks_columns: each of `table.label_columns` is a question with classes of its own; a label is COLUMN=CLASS.
        separable: labels do not depend on each other, so that one network may learn some and another one others.
        sums_to_one: what the network gives are shares of one whole.
        stratifier: a row of `data.folds.STRATIFIERS`, which deals rows to folds evenly.
        watched: metrics that each validation gives beside the recipe's own, by the name that `train.watch` takes.
        reported: metrics that `validate` keeps beside the recipe's own: title -> (metric, its parameters).
    """

    targets: ClassVar[str]
    loss: ClassVar[str]
    rule: ClassVar[str]
    exclusive: ClassVar[bool] = False
    numeric: ClassVar[bool] = False
    votes: ClassVar[bool] = False
    asks_columns: ClassVar[bool] = False
    separable: ClassVar[bool] = False
    sums_to_one: ClassVar[bool] = False
    stratifier: ClassVar[str]
    watched: ClassVar[Mapping[str, str]] = {}
    reported: ClassVar[Mapping[str, tuple[str, Mapping[str, object]]]] = {}

    @property
    def numbered(self) -> bool:
        """Whether a row has a number for each label, which is the name of a column."""
        return self.numeric or self.votes

    @property
    def splits_cells(self) -> bool:
        """Whether a cell holds any number of labels."""
        return not (self.exclusive or self.numbered or self.asks_columns)

    @property
    def smooths(self) -> bool:
        """Whether targets can be spread over other labels (label smoothing)."""
        return not (self.numeric or self.asks_columns)

    def order(self, labels: Iterable[str]) -> list[str]:
        """Return labels in the order of the network's outputs, where no table lists them."""
        return sorted(labels)

    def split(self, cell: str, separator: str) -> list[str]:
        """Return the labels of a cell, without blanks around them."""
        parts = [cell] if self.exclusive else cell.split(separator)
        return [part.strip() for part in parts if part.strip()]

    @abstractmethod
    def make_targets(self, cells: Sequence[Sequence[str]], column: Mapping[str, int], num_labels: int) -> np.ndarray:
        """Return the targets of rows with these labels, first axis N.

        Args:
            cells: the labels of each row; at least one where `exclusive`.
            column: the number of each label, in [0, num_labels); -1 for the label of unknown identities.
        """

    def fit_scale(self, targets: np.ndarray, kind: Kind) -> Scale | None:
        """Return how these targets, of the rows that train, are scaled for the network; None where they are not."""
        return None

    def grade_weights(self, grades: np.ndarray) -> tuple[float, np.ndarray]:
        """Return how a grade is a sum of what the network gives, (O,): a constant, and weights (O,).

        Args:
            grades: what labels are as numbers, rising, float64 (K,).
        """
        return 0.0, grades

    def grade_places(self, targets: np.ndarray, grades: np.ndarray) -> np.ndarray:
        """Return the place of each row's grade among these, int64 (N,)."""
        return targets

    def num_outputs(self, num_labels: int) -> int:
        """Return how many logits the network gives an image."""
        return num_labels

    def parts(self, label_groups: tuple[str, ...]) -> tuple[int, ...]:
        """Return the sizes of parts in each of which the network's outputs are logarithms of probabilities, (Q,); none
        where outputs are logits.

        Args:
            label_groups: of each label, (C,).
        """
        return ()

    @abstractmethod
    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits (..., O) into probabilities, or into values."""

    @abstractmethod
    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        """Return the targets as float32 (B, O), in which samples can be mixed; soft targets stay as they are."""

    @abstractmethod
    def smooth(self, targets: Tensor, share: float) -> Tensor:
        """Spread this share of soft targets (B, O) evenly (label smoothing)."""

    def is_soft(self, targets: np.ndarray) -> bool:
        """Return whether targets have probabilities mixed in, as a teacher's part makes them."""
        return np.issubdtype(targets.dtype, np.floating)

    @abstractmethod
    def soft_answers(self, answers: np.ndarray, num_outputs: int) -> np.ndarray:
        """Return answers, or targets, as what a perfect network gives, float32 (N, O); soft targets as they are."""

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return what folds are to hold evenly, as the `stratifier` takes it: labels (N, C), or classes int64 (N,)."""
        return targets

    def learnable(self, targets: np.ndarray) -> np.ndarray:
        """Return which rows can be trained on, bool (N,)."""
        return np.ones(len(targets), bool)

    def identities(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the one label of each row, int64 (N,), -1 where it is unknown; None where rows have several."""
        return None

    @abstractmethod
    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        """Return which labels rows have, bool (N, C), by their targets or by a rule's answers."""

    def label_shares(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        """Return how much of a row is of each label, (N, C); where rows have labels, all or nothing."""
        return self.label_matrix(values, num_labels)

    @abstractmethod
    def labels_of(self, value: np.ndarray) -> np.ndarray:
        """Return the labels of one row's target or answer, int64 (M,)."""

    def label_counts(self, targets: np.ndarray, num_labels: int) -> np.ndarray:
        """Return the rows of each label, int (C,)."""
        return self.label_matrix(targets, num_labels).sum(0)

    @abstractmethod
    def chances(self, targets: np.ndarray) -> np.ndarray:
        """Return how often the `balanced` sampler draws each row relative to the others, float64 (N,)."""

    @abstractmethod
    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return how alike the labels of rows (M, A) and (M, B) are, in [0, 1], float (M, A, B)."""

    def label_probs(self, probs: np.ndarray) -> np.ndarray:
        """Return the probability of each label, (N, C), from what the network gives, (N, O)."""
        return probs

    def cells(self, answers: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
        """Return the labels of each answer, as cells of a submission name them."""
        return [[labels[label] for label in self.labels_of(answer).tolist()] for answer in answers]

    def wrong(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return which answers differ from the truth, bool (N,)."""
        differs = answers != targets
        return differs.reshape(len(differs), -1).any(1)

    @abstractmethod
    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return how sure each row's wrong answer was, float64 (N,): -log of the probability of what is true."""
