"""Labels are found in columns of 0 and 1, in lists, and in names of files; numbers are not taken for classes."""

import cv2
import numpy as np
import pandas as pd
import pytest
from laid_folders import guess_folder

from imettk.data.table import read_table
from imettk.errors import DataError

NAMES = [f"i{number}" for number in range(24)]


def lay_out(folder, *images, **tables):
    for name in images:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    for name, frame in tables.items():
        pd.DataFrame(frame).to_csv(folder / f"{name}.csv", index=False)
    return folder


def with_images(folder, train, sample=None, **tables):
    images = [f"train/{name}" for name in NAMES] + ["test/q0", "test/q1"]
    sample = {} if sample is None else {"sample_submission": {"id": ["q0", "q1"], **sample}}
    return lay_out(folder, *images, train={"id": NAMES, **train}, **sample, **tables)


def flags(*columns, one=False):
    rows = np.eye(len(columns), dtype=int)[np.arange(24) % len(columns)]
    if not one:
        rows[::5] = 1 - rows[::5]
    return dict(zip(columns, rows.T, strict=True))


@pytest.mark.parametrize(("one", "task"), [(True, "multiclass"), (False, "multilabel")])
def test_columns_of_0_and_1_that_the_sample_asks_for_in_its_order(tmp_path, one, task):
    values = flags("rust", "a b", "scab", one=one)
    guessed = guess_folder(
        with_images(tmp_path, {**values, "age": range(24)}, {"scab": [0.3] * 2, "rust": [0.3] * 2, "a b": [0.3] * 2})
    )
    assert guessed.table.label_columns == ("scab", "rust", "a b") == guessed.table.filled_columns
    assert guessed.table.task == task and not guessed.table.answer_columns
    table = read_table(guessed.table, tmp_path)
    expected = np.stack([values[name] for name in table.labels], axis=1)
    np.testing.assert_array_equal(table.targets, expected.argmax(1) if one else expected)


def test_columns_of_0_and_1_without_a_sample(tmp_path):
    guessed = guess_folder(with_images(tmp_path, {"view": ["x", "y"] * 12, **flags("rust", "a b", "scab")}))
    assert guessed.table.label_columns == ("rust", "a b", "scab")
    assert guess_folder(tmp_path, label_column="view").table.label_column == "view"


def test_a_sample_with_a_column_for_each_value_decides_the_label(tmp_path):
    train = {"breed": [f"b{number % 4}" for number in range(24)], "species": ["cat", "dog"] * 12}
    sample = {f"b{number}": [0.25] * 2 for number in (2, 0, 3, 1)}
    guessed = guess_folder(with_images(tmp_path, train, sample))
    assert guessed.table.label_column == "breed" and guessed.table.answer_columns == ("b2", "b0", "b3", "b1")


def test_a_column_of_the_test_table_is_not_the_label(tmp_path):
    train = {"night": [0, 1] * 12, "tag": ["x", "y", "z"] * 8, "seen": ["cat", "dog"] * 12}
    test = {"id": ["q0", "q1"], "night": [0, 1], "tag": ["x", "y"]}
    guessed = guess_folder(with_images(tmp_path, train, {"answer": ["cat"] * 2}, test=test))
    assert guessed.table.label_column == "seen" and guessed.table.answer_column == "answer"


WHALES = [f"{7919 * (number % 12) + 3:012x}" for number in range(24)]


@pytest.mark.parametrize("last", [WHALES[4], "new_individual"])
def test_the_column_whose_values_the_sample_answers_with_is_the_label(tmp_path, last):
    """In happywhale `species` is called like a label, and `individual_id` like a group."""
    train = {"species": ["beluga", "fin_whale", "orca"] * 8, "individual_id": WHALES}
    guessed = guess_folder(with_images(tmp_path, train, {"predictions": [" ".join([*WHALES[:4], last])] * 2}))
    form = guessed.table
    assert (form.label_column, form.answer_column, form.group_column) == ("individual_id", "predictions", None)
    assert guessed.question.name == "retrieval" and guessed.ranked.number == 5 and set(guessed.labels) == set(WHALES)


def test_the_label_of_the_samples_cells_is_found_against_its_name(tmp_path):
    train = {"label": [7, 8, 9] * 8, "called": ["owl", "big cat", "hen"] * 8, "sex": ["f", "m"] * 12}
    assert guess_folder(with_images(tmp_path, train, {"answer": ["big cat", "owl"]})).table.label_column == "called"
    assert (
        guess_folder(with_images(tmp_path, train, {"answer": [7, 7]})).table.label_column == "label"
    )  # numbers occur in any column


def test_a_column_called_like_the_samples_is_the_label(tmp_path):
    train = {"camera": ["x", "y"] * 12, "category_id": [3, 5] * 12, "kind": ["u", "v"] * 12}
    assert guess_folder(with_images(tmp_path, train, {"Category": [0, 0]})).table.label_column == "category_id"


@pytest.mark.parametrize(
    ("values", "sample", "message"),
    [
        (
            {"score": list(range(1, 25))},
            {"score": [0, 0]},
            "column score holds 24 distinct numbers, such as 1: are they quantities or classes",
        ),
        ({"target": list(range(1, 25))}, None, "column target holds 24 distinct numbers"),
        (
            {"a": [8, 3] * 12, "b": [3, 8] * 12},
            {"a": [0.5] * 2, "b": [0.2] * 2},
            r"values other than 0 and 1, such as '8', in 2 columns \(a, b\)",
        ),
    ],
)
def test_numbers_are_not_taken_for_classes(tmp_path, values, sample, message):
    with_images(tmp_path, values, sample)
    with pytest.raises(DataError, match=message) as caught:
        guess_folder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "sample", "choices", "reason"),
    [
        ({"y": [0.5, 1.5, 2.5] * 8}, {"y": [0, 0]}, {}, "cells hold numbers with a decimal point, such as 0.5"),
        ({"y": [0.5, 1.5, 2.5] * 8}, None, {}, "cells hold numbers with a decimal point, such as 0.5"),
        (
            {"y": [0.5, 1.5, 2.5] * 8, "kind": ["a", "b"] * 12},
            {"y": [0, 0]},
            {},
            "cells hold numbers with a decimal point",
        ),
        ({"label": [1, 2, 3] * 8}, {"label": [32.68, 29.9]}, {}, "fractions that are not probabilities"),
        ({"score": list(range(1, 25))}, {"score": [0, 0]}, {"metric": "mae"}, "mae judges numbers"),
        ({"score": list(range(1, 25))}, {"score": [0, 0]}, {"question": "regression"}, "as requested"),
        (
            {"a": [8, 3] * 12, "b": [3.5, 8] * 12},
            {"a": [0.5] * 2, "b": [0.5] * 2},
            {},
            "cells hold numbers with a decimal point",
        ),
        ({"a": [0, 1] * 12, "b": [1, 0] * 12}, {"a": [0] * 2, "b": [0] * 2}, {"metric": "rmse"}, "rmse judges"),
    ],
)
def test_numbers_are_learned_as_numbers(tmp_path, values, sample, choices, reason):
    guessed = guess_folder(with_images(tmp_path, values, sample), **choices)
    assert guessed.question.name == "regression" and any(reason in finding.reason for finding in guessed.findings)
    columns = tuple(column for column in values if column != "kind")
    assert guessed.table.label_columns == (columns if len(columns) > 1 else ())
    assert guessed.table.number_columns == columns and guessed.labels == dict.fromkeys(columns, 24)
    expected = [list(map(float, row)) for row in zip(*(values[column] for column in columns), strict=True)]
    assert read_table(guessed.table, tmp_path).targets.tolist() == expected


@pytest.mark.parametrize(("cells", "whole"), [([3, 17], True), ([3.5, 17], False), ([0, 0], False)])
def test_answers_are_rounded_if_the_sample_has_several_whole_numbers(tmp_path, cells, whole):
    guessed = guess_folder(with_images(tmp_path, {"age": list(range(1, 25))}, {"age": cells}), metric="mae")
    assert (
        guessed.judging.rule is not None and guessed.judging.rule.whole
    ) == whole and guessed.judging.metric == "mae"


def test_numbers_are_classes_by_their_name_or_on_request(tmp_path):
    numbers = [number // 2 if number < 4 else number for number in range(24)]
    for name in ("hotel_id", "class", "landmarkId"):
        assert guess_folder(with_images(tmp_path, {name: numbers}, {name: [0, 0]})).question.task == "multiclass"
    with_images(tmp_path, {"score": numbers}, {"score": [0, 0]})
    assert guess_folder(tmp_path, question="multiclass").table.label_column == "score"


def test_lists_are_several_labels(tmp_path):
    guessed = guess_folder(with_images(tmp_path, {"tags": ["['a', 'b c']", "[]", "['a']"] * 8}))
    assert guessed.table.label_lists and guessed.question.several and guessed.labels == {"a": 16, "b c": 8}
    assert read_table(guessed.table, tmp_path).labels == ("a", "b c")


@pytest.mark.parametrize(
    ("cells", "sign"),
    [(["a|b", "a"], "|"), (["66 105", "1 2"], " "), (["a,b", "b, a"], ","), (["['a']", "['a', 'b']"], " ")],
)
def test_the_separator_of_the_sample_is_used_with_lists(tmp_path, cells, sign):
    guessed = guess_folder(with_images(tmp_path, {"tags": ["['a', 'b']", "[]", "['a']"] * 8}, {"tags": cells}))
    assert guessed.table.label_lists and guessed.table.label_separator == sign


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cat.{}", "dog.{}"], {"cat", "dog"}),
        (["great_pyrenees_{}", "Abyssinian_{}"], {"great_pyrenees", "Abyssinian"}),
        (["cat ({})", "big dog ({})"], {"cat", "big dog"}),
        (["{}_cat", "{}-dog"], {"cat", "dog"}),
    ],
)
def test_file_names_hold_labels(tmp_path, names, labels):
    files = [f"train/{name.format(number)}" for number, name in enumerate(names * 5)]
    lay_out(tmp_path, *files, "test/1", "test/2", sample_submission={"id": [1, 2], "label": [0.5, 0.5]})
    guessed = guess_folder(tmp_path)
    assert set(guessed.labels) == labels and guessed.table.train_files and guessed.test_found.all()
    table = read_table(guessed.table, tmp_path)
    assert set(table.labels) == labels and len(table) == 10


@pytest.mark.parametrize("names", [["IMG_{}", "DSC_{}"], ["img1_{}", "img2_{}"], ["a{}"], ["train_{}", "test_{}"]])
def test_file_names_without_labels_are_refused(tmp_path, names):
    lay_out(tmp_path, *(f"train/{name.format(number)}" for number, name in enumerate(names * 5)))
    with pytest.raises(DataError, match="No table has a column of image names"):
        guess_folder(tmp_path)
