"""Names of labels are read from a table of their own, or from COCO's annotations."""

import json
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.labels import read_titles
from imettk.errors import DataError
from imettk.starter.guess_titles import find_coco_titles, find_titles, have_groups
from imettk.starter.look import Contents

LABELS = Counter({"1": 2, "2": 1})
COCO = {
    "images": [{"id": row, "file_name": f"{row}.jpg"} for row in range(3)],
    "annotations": [{"image_id": row, "category_id": 1 + row} for row in (0, 1)],
    "categories": [{"id": 1, "name": "owl"}, {"id": 2, "name": "hen"}],
}


def contents(forms=None, **tables):
    frames = {
        f"{name}.csv": pd.DataFrame({key: list(cells) for key, cells in columns.items()}, dtype=str)
        for name, columns in tables.items()
    }
    return Contents(frames, {}, [], forms=forms or {})


def test_a_table_with_every_label_names_them():
    findings = []
    tables = contents(train={"id": "ab", "label": "12"}, kinds={"no": "123", "family": "xxy", "label_name": "abc"})
    found = find_titles(tables, LABELS, ["train.csv"], findings)
    assert found == {"labels_csv": "kinds.csv", "label_id_column": "no", "label_name_column": "label_name"}
    assert findings[0].value == "kinds.csv, 3 labels"
    assert find_titles(tables, LABELS, ["kinds.csv", "train.csv"], []) == {}
    assert find_titles(tables, Counter("14"), ["train.csv"], []) == {}


def test_a_table_of_images_lists_no_labels():
    rows = {"id": "123", "other": ["x0.jpg", "x1.jpg", "x2.jpg"]}
    for name in ("test", "test_info", "val"):
        assert find_titles(contents(**{name: rows}), LABELS, [], []) == {}
    tables = contents(more=rows)
    assert find_titles(tables, LABELS, [], [])["labels_csv"] == "more.csv"
    assert find_titles(replace(tables, images={"b": ["x0.jpg", "x2.jpg"]}), LABELS, [], []) == {}
    numbered = replace(tables, images={"b": ["1.jpg", "2.jpg", "3.jpg"]})  # numbers, as the labels are
    assert find_titles(numbered, LABELS, [], [])["labels_csv"] == "more.csv"


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (["owl", "owl", "hen"], "scientificName"),
        (["owl", "", "hen"], None),  # a label with two names
        (["owl", "owl", "owl"], None),  # a name of two labels
    ],
)
def test_names_stand_beside_cocos_categories(kinds, name):
    columns = {"file_name": "abc", "category_id": "112", "scientificName": kinds, "family": "xxy"}
    tables = contents({"train.csv": "COCO: 3 annotations of 3 images in 2 categories"}, train=columns)
    found = find_coco_titles(tables, "train.csv", "category_id", [])
    assert found.get("label_name_column") == name and (name is None) == (not found)
    assert find_coco_titles(tables, "train.csv", "family", []) == {}
    tables.tables["train.csv"].loc[3] = ""  # an image without an annotation
    findings = []
    assert find_coco_titles(tables, "train.csv", "category_id", findings) == found
    assert all(finding.value == "train.csv, 2 labels" for finding in findings)
    assert find_coco_titles(contents(train=columns), "train.csv", "category_id", []) == {}


def test_names_are_read_from_rows_of_annotations(tmp_path):
    form = TableFormat(labels_csv="a.json", label_id_column="category_id", label_name_column="category_name")
    (tmp_path / "a.json").write_text(json.dumps(COCO))
    assert read_titles(form, tmp_path) == {"1": "owl", "2": "hen"}  # the third image has none
    (tmp_path / "a.csv").write_text("category_id,category_name\n1,owl\n1,hen\n")
    with pytest.raises(DataError, match=r"a\.csv: 1 id \(1\) more than once"):
        read_titles(TableFormat(**(vars(form) | {"labels_csv": "a.csv"})), tmp_path)


def test_groups_are_recognised_by_their_separator():
    assert have_groups(pd.Series(["culture::french", "x"])) and not have_groups(pd.Series(["a:b", "x"]))
