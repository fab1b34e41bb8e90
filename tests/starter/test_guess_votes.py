"""Votes are told from numbers and from labels in columns of 0 and 1; the user's choice comes first."""

import numpy as np
import pandas as pd
import pytest

from imettk.starter.guess_columns import Choices
from imettk.starter.guess_sample import Sample
from imettk.starter.guess_votes import count_rows, vote_columns, why_votes

COUNTS = {"a": [3, 0, 7], "b": [1, 2, 1]}
SHARES = {"a": [0.75, 0.2, 0.5], "b": [0.25, 0.8, 0.5]}
NUMBERS = {"a": [0.7, 0.2, 0.5], "b": [0.5, 0.8, 0.1]}
FLAGS = {"a": [1, 0, 0], "b": [0, 1, 1]}


def frame_of(columns):
    return pd.DataFrame({"id": ["x", "y", "z"], **columns}).astype(str)


def sample_of(*row):
    frame = frame_of(dict(zip("ab", ([value] * 3 for value in row), strict=True)))
    return Sample("sample_submission.csv", frame, "id", None)


@pytest.mark.parametrize(
    ("columns", "sample", "reason"),
    [
        (COUNTS, sample_of(0.333, 0.667), "rows of the sample submission sum to 1"),
        (COUNTS, sample_of(0.17, 0.81), "rows of the sample submission sum to 1"),
        (SHARES, sample_of(0, 0), "the shares of each row sum to 1"),
        (SHARES, None, "the shares of each row sum to 1"),
        (COUNTS, sample_of(0.5, 0.1), None),  # two numbers
        (COUNTS, sample_of(1, 0), None),  # nothing shows that these are shares
        (COUNTS, sample_of(12.5, 3), None),
        (COUNTS, None, None),
        (NUMBERS, sample_of(0.5, 0.5), None),
        ({"a": [3.5, 0, 7], "b": [1, 2, 1]}, sample_of(0.5, 0.5), None),
        ({"a": [3, 0, -7], "b": [1, 2, 1]}, sample_of(0.5, 0.5), None),
        ({"a": [3, "", 7], "b": [1, 2, 1]}, sample_of(0.5, 0.5), None),
        (FLAGS, sample_of(0.5, 0.5), None),  # classes
    ],
)
def test_votes_are_shares_or_whole_numbers_with_shares_in_the_sample(columns, sample, reason):
    why = why_votes(frame_of(columns), ("a", "b"), sample, Choices())
    assert (why is None) == (reason is None) and (reason is None or reason in why)


def test_the_users_choice_comes_first():
    frame, sample = frame_of(COUNTS), sample_of(0.4, 0.6)
    assert why_votes(frame, ("a", "b"), sample, Choices(question="regression")) is None
    assert why_votes(frame, ("a", "b"), sample, Choices(metric="rmse")) is None
    assert why_votes(frame, ("a", "b"), sample, Choices(metric="log_loss")) is not None
    assert (
        why_votes(frame, ("a", "b"), sample_of(0, 0), Choices(metric="kl_divergence")) == "kl_divergence judges votes"
    )
    assert why_votes(frame_of(FLAGS), ("a", "b"), None, Choices(question="votes")) == "as requested"


def test_columns_of_votes_are_found_by_name_or_on_request():
    frame = frame_of({"cat_vote": [3, 0, 7], "age": [31, 5, 6], "dog_vote": [1, 2, 1], "kind": ["u", "v", "u"]})
    assert vote_columns(frame, "id", Choices()) == ("cat_vote", "dog_vote")
    assert vote_columns(frame, "id", Choices(question="multiclass")) == ()
    assert why_votes(frame, ("cat_vote", "dog_vote"), None, Choices()).startswith("chosen by their names")
    plain = frame_of({**NUMBERS, "kind": ["u", "v", "u"]})
    assert vote_columns(plain, "id", Choices()) == () and vote_columns(plain, "id", Choices(question="votes")) == (
        "a",
        "b",
    )


def test_a_row_counts_for_the_label_with_most_votes():
    frame = frame_of({"a": [3, 1, 7], "b": [1, 1, 1], "c": [0, 0, 0]})
    assert count_rows(frame, ("a", "b", "c")) == {"a": 3, "b": 0, "c": 0}
    assert np.sum(list(count_rows(frame, ("a", "b", "c")).values())) == 3
