"""The ids of a sample submission name images; its cells are labels, numbers, probabilities or pairs."""

import numpy as np
import pandas as pd
import pytest

from imettk.errors import DataError
from imettk.starter.guess_sample import Sample, read_ranked, read_sample
from imettk.starter.look import Contents

IMAGES = {"train": ["a.jpg", "b.jpg"], "test": ["q0.jpg", "q1.JPG"]}


def contents(**columns):
    return Contents({"sample.csv": pd.DataFrame(columns, dtype=str)}, IMAGES, [])


def sample(*cells):
    return Sample("sample.csv", pd.DataFrame({"id": [f"q{row}" for row in range(len(cells))], "x": cells}), "id", None)


@pytest.mark.parametrize(
    ("columns", "id_column", "found"),
    [
        ({"id": ["q0", "q1"], "label": ["x", "x"]}, "id", "id"),
        ({"image_id": ["q0", "q1"], "prediction": ["x", "x"]}, "Image", "image_id"),
        ({"row": ["1", "2"], "name": ["q0.jpg", "q1.jpg"]}, "file", "name"),
        ({"Image": ["z0", "z1"], "y": ["0", "0"]}, "image_id", "Image"),  # hidden images
        ({"first": ["z0", "z1"], "y": ["0", "0"]}, None, "first"),
    ],
)
def test_the_column_of_ids_names_images(columns, id_column, found):
    read = read_sample(contents(**columns), "sample.csv", id_column)
    assert read.id_column == found and set(read.answers) == set(columns) - {found}
    assert (read.naming is None) == ("z0" in columns[found])
    if read.naming is not None:
        assert read.naming.files.tolist() == ["q0.jpg", "q1.JPG"]


def test_ambiguous_ids_are_reported_in_one_line():
    columns = contents(row_id=["q0_root", "q1_root"], target=["0", "0"])
    with pytest.raises(DataError, match="has no column image_id, and no value in row_id, target names an image"):
        read_sample(columns, "sample.csv", "image_id")
    assert read_sample(columns, None, "image_id") is None


@pytest.mark.parametrize(
    ("cells", "numbers", "fractions", "probabilities"),
    [
        (["0.5", "1"], [0.5, 1], True, True),
        (["0", "1.0"], [0, 1], False, True),
        (["1.5", "0"], [0, 1.5], True, False),
        (["42", "7"], [42, 7], False, False),
        (["cat", "0.5"], None, False, False),
        (["0 1", "0 1"], None, False, False),
        (["", " "], None, False, False),
    ],
)
def test_kinds_of_cells(cells, numbers, fractions, probabilities):
    found = sample(*cells)
    assert (found.has_fractions, found.shows_probabilities) == (fractions, probabilities)
    assert (found.numbers is None) == (numbers is None)
    if numbers is not None:
        np.testing.assert_array_equal(np.sort(found.numbers), np.sort(numbers))


def test_a_label_with_its_probability_is_not_a_ranking():
    labels = {"8815", "big cat"}
    assert sample("8815 0.03", "big cat 1e-3", "8815 1").shows_pairs(labels)
    for cells in (("8815 8815", "8815 0.5"), ("8815", "8815 0.5"), ("9 0.5", "9 0.1"), ("8815 1.5", "8815 0.1")):
        assert not sample(*cells).shows_pairs(labels)
    assert read_ranked(sample("8815 0.03"), labels, set()) is None
    assert read_ranked(sample("8815 8816"), {"8815", "8816"}, set()).number == 2
