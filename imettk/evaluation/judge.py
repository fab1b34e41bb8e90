"""Interface of judges: validation and answers of runs, by the kind of rule that a recipe has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from imettk.config import Recipe
from imettk.data.labels import split
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.errors import ConfigError
from imettk.evaluation.oof_judge import OofJudge
from imettk.evaluation.pictures import Album
from imettk.experiment.prepared import Experiment, Prepared
from imettk.experiment.rule_file import RULE
from imettk.inference.predictor import Predictions
from imettk.models.heads import Outputs
from imettk.postprocess.pseudo import Selection
from imettk.tracking.run_dir import RunDir

Answers = list[list[str]]  # labels (or other cells) of each row


class Judge(ABC):
    """Everything that follows prediction, for one recipe."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    @property
    def num_answers(self) -> int | None:
        """Most answers that a row of the submission may have, best first; None if answers have no order."""
        return None

    def gallery(self, prepared: Prepared, fold: int) -> np.ndarray:
        """Return further rows whose embeddings a validation during training needs, int64 (M,)."""
        return np.zeros(0, np.int64)

    @abstractmethod
    def judge_fold(self, prepared: Prepared, fold: int, outputs: Outputs, gallery: Outputs | None) -> dict[str, float]:
        """Return the scores of a fold's validation rows while it trains, by name: points of its curves."""

    @abstractmethod
    def validate(self, experiment: Experiment, data_dir: Path, folds: list[int]) -> bool:
        """Write out-of-fold predictions, `rule.json`, `scores.json` and the report's evidence; print the scores.

        Returns:
            Whether something was fitted on these rows.
        """

    def require_validated(self, run: RunDir) -> None:
        """Raise `MissingFileError` if `infer` needs a file that `validate` has not written."""
        run.find(RULE, written_by="validate")

    @abstractmethod
    def require_rule(self, run: RunDir, labelled: LabelledTable, folds: list[int]) -> None:
        """Raise if there is no fitting rule: `infer` would notice only after hours of prediction."""

    @abstractmethod
    def answer_test(
        self, data_dir: Path, run: RunDir, table: SampleTable, tests: Iterator[tuple[int, Predictions]]
    ) -> tuple[Answers, np.ndarray | None]:
        """Return answers for the rows of the test table, or its units, and their mean predictions, float (N, O), where
        they have any.

        Args:
            tests: predictions of the test table, fold by fold.
        """

    def known_cells(self, run: RunDir, labelled: LabelledTable, known: dict[str, str]) -> dict[str, list[str]]:
        """Return the answers to rows that are known, from cells of the training table, by id."""
        return {name: split(cell, self.recipe.table) for name, cell in known.items()}

    @abstractmethod
    def put_known(
        self, known: dict[str, list[str]], labelled: LabelledTable, table: SampleTable, answers: Answers
    ) -> Answers:
        """Return the answers with known ones, from `known_cells`, in their place."""

    @abstractmethod
    def score_answers(
        self, labelled: LabelledTable, table: SampleTable, answers: Answers, truth: np.ndarray, tests: np.ndarray | None
    ) -> tuple[str, float | None]:
        """Return the metric's name and the score of answers to the test table.

        Args:
            table: the test table, with a row a unit where it has units.
            truth: its targets.
            tests: its mean predictions, float (N, O), for metrics of them.
        """

    @abstractmethod
    def image_answerer(self, data_dir: Path, run: RunDir, folds: list[int], labels: tuple[str, ...]) -> ImageAnswerer:
        """Return an answerer of single pictures, which has found all that it needs before anything is predicted."""

    @abstractmethod
    def check_pseudo(self, selection: Selection, folds: Sequence[int]) -> None:
        """Raise `ConfigError` if models of these folds cannot label rows like this, before anything is predicted."""

    @abstractmethod
    def pseudo_labels(self, run: RunDir, selection: Selection, *, out: Path | None = None) -> None:
        """Write the test rows of which models are sure, as rows to train on, into the run folder or another."""

    @abstractmethod
    def ensemble(
        self, data_dir: Path, run: RunDir, *, members: list[Path], method: str, weights: list[float] | None
    ) -> None:
        """Write the blended predictions of several runs, and their scores."""

    def oof_judge(self, prepared: Prepared) -> OofJudge:
        """Return a judge of out-of-fold predictions that no file holds yet, such as those of a soup.

        Raises:
            ConfigError: answers are ranked by neighbours, whose embeddings would be needed too.
        """
        raise ConfigError(
            "a soup is chosen by the score of answers from probabilities or values, and this recipe ranks identities: "
            "use `imettk ensemble`, which joins their embeddings"
        )


class ImageAnswerer(ABC):
    """Answerer of single pictures, in text."""

    @abstractmethod
    def answer(self, outputs: list[Outputs], rows: np.ndarray, pictures: Album) -> list[str]:
        """Return the answers to some of the pictures.

        Args:
            outputs: of all pictures, by each fold.
            rows: the pictures, int64 (M,).
        """


def judge_of(recipe: Recipe) -> Judge:
    """Return the judge of a recipe's runs."""
    from imettk.config.choices import load

    made: type[Judge] = load(recipe.rule_row.judge)
    return made(recipe)
