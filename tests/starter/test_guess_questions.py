"""Several columns of a few classes each are questions, unless the sample, a metric or the user decides otherwise."""

import cv2
import numpy as np
import pandas as pd
import pytest
from laid_folders import guess_folder

from imettk.data.table import read_table
from imettk.errors import DataError
from imettk.starter.guess import guess
from imettk.starter.guess_columns import Choices
from imettk.starter.guess_questions import auxiliary_candidates, why_questions
from imettk.starter.look import look_into

NAMES = [f"i{number}" for number in range(24)]
ROOT, WORD = np.arange(24) % 6, [("b", "a", "c")[number % 3] for number in range(24)]


def lay_out(folder, train, sample=None):
    for name in [f"train/{name}" for name in NAMES] + ["test/q0", "test/q1"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    pd.DataFrame({"id": NAMES, **train}).to_csv(folder / "train.csv", index=False)
    if sample is not None:
        pd.DataFrame({"id": ["q0", "q1"], **sample}).to_csv(folder / "sample_submission.csv", index=False)
    return folder


def test_columns_that_the_sample_asks_for_are_questions_in_the_tables_order(tmp_path):
    letters = [chr(97 + number) for number in ROOT]
    train = {"root": ROOT, "letter": letters, "word": WORD, "flag": np.arange(24) % 2}
    guessed = guess_folder(lay_out(tmp_path, train, {"flag": [0, 0], "word": "a", "root": 0}))
    assert guessed.question.name == "questions" and guessed.table.label_columns == ("root", "word", "flag")
    assert guessed.table.answer_columns == ("flag", "word", "root") and guessed.judging.rule is None
    assert guessed.labels == {f"root={number}": 4 for number in range(6)} | {f"word={word}": 8 for word in "abc"} | {
        "flag=0": 12,
        "flag=1": 12,
    }
    table = read_table(guessed.table, tmp_path)
    assert table.targets.sum(1).tolist() == [3] * 24 and len(table.labels) == 11


@pytest.mark.parametrize(
    ("train", "sample", "choices", "task"),
    [
        ({"root": ROOT, "word": np.arange(24) % 2}, {"root": 0, "word": 0}, {"metric": "rmse"}, "regression"),
        ({"root": ROOT, "word": ROOT[::-1]}, {"root": 0, "word": 0}, {"question": "regression"}, "regression"),
        ({"a": ROOT % 2, "b": ROOT // 3}, {"a": 0, "b": 0}, {}, "multilabel"),
        ({"a": ROOT % 2, "b": ROOT // 3}, {"a": 0, "b": 0}, {"question": "questions"}, "questions"),
        ({"a": ROOT, "b": ROOT // 3}, {"a": 0, "b": 0}, {"metric": "macro_recall"}, "questions"),
    ],
)
def test_flags_and_numbers_are_not_questions_unless_requested(tmp_path, train, sample, choices, task):
    assert guess_folder(lay_out(tmp_path, train, sample), **choices).table.task == task


@pytest.mark.parametrize(
    ("train", "sample"),
    [
        ({"root": ROOT, "word": np.arange(24)}, {"root": 0, "word": 0}),  # too many to be classes
        ({"root": ROOT, "word": ROOT[::-1]}, {"root": 0.5, "word": 0.2}),  # the sample answers with fractions
    ],
)
def test_ambiguous_columns_are_reported_in_one_line(tmp_path, train, sample):
    with pytest.raises(DataError, match=r"give --task regression if .* or --task questions if each column has classes"):
        guess_folder(lay_out(tmp_path, train, sample))


def test_questions_without_a_sample_must_be_requested(tmp_path):
    train = {
        "root": ROOT,
        "word": WORD,
        "number": np.linspace(0, 1, 24),
        "name": [f"n{number}" for number in range(24)],
    }
    guessed = guess_folder(lay_out(tmp_path, train), question="questions")
    assert guessed.table.label_columns == ("root", "word")


def test_columns_that_test_images_lack_could_be_learned_too(tmp_path):
    letters = [chr(97 + number) for number in ROOT]
    train = {"root": ROOT, "word": WORD, "letter": letters, "view": WORD, "patient": NAMES, "age": np.arange(24) * 1.5}
    for sample, expected in (
        ({"word": "a", "root": 0}, ["letter"]),
        ({"age": 0.5}, ["root"]),
        ({"word": "a"}, []),  # plain classes have no auxiliary columns
    ):
        lay_out(tmp_path, train, sample)
        pd.DataFrame({"id": ["q0", "q1"], "view": "a"}).to_csv(tmp_path / "test.csv", index=False)
        contents = look_into(tmp_path)
        guessed = guess(contents, tmp_path, Choices(metric="rmse" if "age" in sample else None))
        assert auxiliary_candidates(guessed.table, guessed.frame, contents) == expected


@pytest.mark.parametrize("sample", [None, {"target": [0, 0]}])
def test_two_columns_called_votes_are_not_labels_if_there_is_one(tmp_path, sample):
    train = {"species": WORD, "up_votes": np.arange(24) % 7, "down_votes": np.arange(24) % 5}
    assert guess_folder(lay_out(tmp_path, train, sample)).table.label_column == "species"


def test_counts_with_many_values_are_not_classes_unless_requested():
    frame = pd.DataFrame({"males": np.arange(240) % 40, "females": np.arange(240) % 30}).astype(str)
    columns = ("males", "females")
    assert why_questions(frame, columns, None, Choices()) is None
    assert why_questions(frame, columns, None, Choices(metric="macro_recall")) is not None
    few = why_questions(frame.assign(females=frame["females"].str[-1]), columns, None, Choices())
    assert few is not None and few.endswith("give --task regression if they are quantities")
