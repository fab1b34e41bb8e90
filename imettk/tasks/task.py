"""The interface of a task; the rest of the package calls it instead of asking which task it is."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from imettk.tasks.scale import Kind, Scale

# A number in a cell. Not `float()`, which also accepts nan, infinity and 1_000.
NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?\s*", re.IGNORECASE)
REPORTED_EPS = {"eps": 1e-7}  # of the log loss reported beside a recipe's metric; earlier versions used it too


def numbers_of(labels: Sequence[str]) -> np.ndarray | None:
    """Return labels as numbers, float64 (K,); None if a label is not a number."""
    return np.array([float(label) for label in labels]) if all(map(NUMBER.fullmatch, labels)) else None


def is_finite(cell: str) -> bool:
    """Return whether a cell holds a number within the range of float32."""
    return NUMBER.fullmatch(cell) is not None and bool(abs(float(cell)) <= np.finfo(np.float32).max)


def grades_of(labels: Sequence[str]) -> np.ndarray | None:
    """Return labels as rising grades, float64 (K,); None if they are not numbers in rising order."""
    grades = numbers_of(labels)
    return grades if grades is not None and (np.diff(grades) > 0).all() else None


class Task(ABC):
    """The conversion of a table's cells to targets, the network's outputs for them, and the way rows count.

    In shapes, N is the number of rows, C of labels and O of network outputs.

    Attributes:
        targets: the form of targets; losses, metrics and rules list the forms that they accept.
        loss: the default of `train.loss`.
        rule: the default of `rule.kind`.
        exclusive: a row has exactly one label, so its cell is never split.
        numeric: a row has a number for each label (the name of a column), to be learned and answered.
        votes: a row has a number of votes for each label (the name of a column), whose shares are learned.
        asks_columns: each of `table.label_columns` is a question with its own classes; a label is COLUMN=CLASS.
        separable: labels are independent of each other, so different networks may learn different labels.
        sums_to_one: the network's outputs are shares of one whole.
        stratifier: a row of `data.folds.STRATIFIERS`, which distributes rows evenly over folds.
        watched: metrics that each validation computes beside the recipe's own, by their name in `train.watch`.
        reported: metrics that `validate` reports beside the recipe's own: title -> (metric, its parameters).
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
        """True if a row has a number for each label, the name of a column."""
        return self.numeric or self.votes

    @property
    def splits_cells(self) -> bool:
        """True if a cell may hold any number of labels."""
        return not (self.exclusive or self.numbered or self.asks_columns)

    @property
    def smooths(self) -> bool:
        """True if targets can be spread over other labels (label smoothing)."""
        return not (self.numeric or self.asks_columns)

    def order(self, labels: Iterable[str]) -> list[str]:
        """Return labels in the order of the network's outputs, for tables that do not list them."""
        return sorted(labels)

    def split(self, cell: str, separator: str) -> list[str]:
        """Return the labels in a cell, stripped of blanks."""
        parts = [cell] if self.exclusive else cell.split(separator)
        return [part.strip() for part in parts if part.strip()]

    @abstractmethod
    def make_targets(self, cells: Sequence[Sequence[str]], column: Mapping[str, int], num_labels: int) -> np.ndarray:
        """Return the targets of rows with these labels, first axis N.

        Args:
            cells: the labels of each row; at least one if the task is `exclusive`.
            column: index of each label, in [0, num_labels); -1 for the label of unknown identities.
        """

    def fit_scale(self, targets: np.ndarray, kind: Kind) -> Scale | None:
        """Return the scale of these training targets for the network; None for tasks without one."""
        return None

    def grade_weights(self, grades: np.ndarray) -> tuple[float, np.ndarray]:
        """Return a constant and weights (O,): a grade is the constant plus the weighted sum of the network's outputs.

        Args:
            grades: labels as numbers, rising, float64 (K,).
        """
        return 0.0, grades

    def grade_places(self, targets: np.ndarray, grades: np.ndarray) -> np.ndarray:
        """Return the index of each row's grade among these, int64 (N,)."""
        return targets

    def num_outputs(self, num_labels: int) -> int:
        """Return the number of logits that the network outputs for an image."""
        return num_labels

    def parts(self, label_groups: tuple[str, ...]) -> tuple[int, ...]:
        """Return the sizes of the parts of the outputs that are log-probabilities, (Q,); () if outputs are logits.

        Args:
            label_groups: group of each label, (C,).
        """
        return ()

    @abstractmethod
    def activate(self, logits: Tensor) -> Tensor:
        """Turn logits (..., O) into probabilities or values."""

    @abstractmethod
    def soften(self, targets: Tensor, num_outputs: int) -> Tensor:
        """Return targets as float32 (B, O), so that samples can be mixed; soft targets stay unchanged."""

    @abstractmethod
    def smooth(self, targets: Tensor, share: float) -> Tensor:
        """Spread this share of soft targets (B, O) evenly (label smoothing)."""

    def smooth_towards(self, targets: Tensor, share: float, prior: Tensor) -> Tensor:
        """Spread this share of soft targets (B, O) like the training rows: (1 - share) t + share prior.

        Label smoothing with a prior u(k) (Szegedy et al., arXiv 1512.00567, section 7).

        Args:
            prior: mean of the training rows' soft targets, (O,).
        """
        return targets * (1 - share) + share * prior

    def is_soft(self, targets: np.ndarray) -> bool:
        """Return whether targets are mixed with probabilities, as a teacher's predictions make them."""
        return np.issubdtype(targets.dtype, np.floating)

    @abstractmethod
    def soft_answers(self, answers: np.ndarray, num_outputs: int) -> np.ndarray:
        """Return the outputs of a perfect network for answers or targets, float32 (N, O); soft targets as given."""

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Return what to distribute evenly over folds, for `stratifier`: labels (N, C) or classes int64 (N,)."""
        return targets

    def learnable(self, targets: np.ndarray) -> np.ndarray:
        """Return which rows can be trained on, bool (N,)."""
        return np.ones(len(targets), bool)

    def identities(self, targets: np.ndarray) -> np.ndarray | None:
        """Return the single label of each row, int64 (N,), -1 if unknown; None if rows have several labels."""
        return None

    @abstractmethod
    def label_matrix(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        """Return the labels of each row, bool (N, C), from targets or from a rule's answers."""

    def label_shares(self, values: np.ndarray, num_labels: int) -> np.ndarray:
        """Return the share of each label in a row, (N, C): 0 or 1 for tasks whose rows have labels."""
        return self.label_matrix(values, num_labels)

    @abstractmethod
    def labels_of(self, value: np.ndarray) -> np.ndarray:
        """Return the labels of a single row's target or answer, int64 (M,)."""

    def label_counts(self, targets: np.ndarray, num_labels: int) -> np.ndarray:
        """Return the number of rows of each label, int (C,)."""
        counts: np.ndarray = self.label_matrix(targets, num_labels).sum(0)
        return counts

    @abstractmethod
    def chances(self, targets: np.ndarray) -> np.ndarray:
        """Return how often the `balanced` sampler draws each row, relative to the others, float64 (N,)."""

    @abstractmethod
    def agreement(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the similarity of the labels of rows (M, A) and (M, B), in [0, 1], float (M, A, B)."""

    def label_probs(self, probs: np.ndarray) -> np.ndarray:
        """Return the probability of each label, (N, C), from the network's outputs, (N, O)."""
        return probs

    def outputs_of(self, label_probs: np.ndarray) -> np.ndarray:
        """Return the network's outputs, (N, O), that give these probabilities of labels, (N, C)."""
        return label_probs

    def exclusive_parts(self, label_groups: tuple[str, ...]) -> tuple[int, ...]:
        """Return the sizes of the parts of the labels whose probabilities sum to 1; () if labels are independent.

        Args:
            label_groups: group of each label, (C,).
        """
        return (len(label_groups),) if self.exclusive else self.parts(label_groups)

    def sharpen(self, probs: np.ndarray, power: float, label_groups: tuple[str, ...]) -> np.ndarray:
        """Return probabilities (N, O) raised to a power and normalised again; above 1 it makes them more certain.

        Those that exclude each other are normalised together, others each with its complement. It divides a softmax's
        temperature by the power.

        Args:
            label_groups: group of each label, (C,).
        """
        raised = probs.astype(np.float64) ** power
        if self.sums_to_one:
            total = raised.sum(1, keepdims=True)
        elif parts := self.parts(label_groups):
            starts = np.cumsum((0, *parts[:-1]))
            total = np.repeat(np.add.reduceat(raised, starts, axis=1), parts, axis=1)
        else:
            total = raised + (1 - probs.astype(np.float64)) ** power
        return np.asarray(raised / total, probs.dtype)

    def cells(self, answers: np.ndarray, labels: Sequence[str]) -> list[list[str]]:
        """Return the labels of each answer, as a submission's cells name them."""
        return [[labels[label] for label in self.labels_of(answer).tolist()] for answer in answers]

    def wrong(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return which answers differ from the truth, bool (N,)."""
        differs = np.asarray(answers != targets)
        return np.asarray(differs.reshape(len(differs), -1).any(1))

    @abstractmethod
    def row_losses(self, probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return -log p(truth) of each row, float64 (N,): how confidently a wrong answer was given."""
