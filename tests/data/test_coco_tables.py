"""COCO's lists are joined like pandas' merge: one row per annotation, images without one kept."""

import copy
import json

import pandas as pd
import pytest

from imettk.config import TableFormat
from imettk.data.annotations import read_boxes
from imettk.data.table_files import read_file, read_rows
from imettk.errors import DataError

IMAGES = [{"id": number, "file_name": f"{number // 2}/{number}.jpg", "width": 64} for number in (3, 1, 2)]
ANNOTATIONS = [
    {"id": 10, "image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4.5]},
    {"id": 11, "image_id": 3, "category_id": 5, "bbox": [0, 0, 9, 9]},
    {"id": 12, "image_id": 3, "category_id": 7, "width": 8},
]
CATEGORIES = [{"id": 5, "name": "owl", "supercategory": "bird"}, {"id": 7, "name": "cat", "width": "?"}]
COCO = {"info": {"year": 2020}, "images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES}


def rows_of(tmp_path, value, remarks=None):
    (tmp_path / "a.json").write_text(json.dumps(value))
    return read_rows(tmp_path / "a.json", remarks)


def changed(**parts):
    return copy.deepcopy(COCO) | parts


def test_it_is_joined_as_pandas_merges(tmp_path):
    remarks = []
    read = rows_of(tmp_path, COCO, remarks)
    images, annotations, categories = (pd.DataFrame(rows).astype(object) for rows in (IMAGES, ANNOTATIONS, CATEGORIES))
    boxes = pd.DataFrame([row.get("bbox", [None] * 4) for row in ANNOTATIONS])
    annotations = annotations.assign(x0=boxes[0], y0=boxes[1], x1=boxes[0] + boxes[2], y1=boxes[1] + boxes[3])
    whole = images.rename(columns={"id": "image_id"}).merge(
        annotations.drop(columns="bbox").rename(columns={"id": "annotation_id", "width": "annotation_width"}),
        on="image_id", how="left",
    )  # fmt: skip
    names = {"id": "category_id", "name": "category_name", "width": "category_width"}
    whole = whole.merge(categories.rename(columns=names), on="category_id", how="left")
    assert read.columns.tolist() == whole.columns.tolist() and len(read) == 4
    for column in read:
        cells = [
            cell if cell == "" else float(cell) if column in ("x0", "y0", "x1", "y1") else cell for cell in read[column]
        ]
        expected = ["" if pd.isna(cell) else cell for cell in whole[column]]
        if column not in ("x0", "y0", "x1", "y1"):
            expected = [cell if isinstance(cell, str) else str(int(cell)) for cell in expected]
        assert cells == expected, column
    assert remarks == []
    assert read_file(tmp_path / "a.json").form == "COCO: 3 annotations of 3 images in 2 categories"


def test_boxes_are_read_from_it(tmp_path):
    rows_of(tmp_path, changed(annotations=ANNOTATIONS[:2]))
    boxes = read_boxes(TableFormat(boxes_csv="a.json", box_id_column="image_id"), tmp_path)
    assert boxes.index.tolist() == ["3", "2"] and boxes.to_numpy().tolist() == [[0, 0, 9, 9], [1, 2, 4, 6.5]]
    rows_of(tmp_path, changed(annotations=[ANNOTATIONS[1], ANNOTATIONS[1] | {"id": 4}]))
    with pytest.raises(DataError, match=r"1 id \(3\) more than once"):
        read_boxes(TableFormat(boxes_csv="a.json", box_id_column="image_id"), tmp_path)


def test_a_box_that_is_none_stays_as_it_is(tmp_path):
    read = rows_of(tmp_path, changed(annotations=[ANNOTATIONS[0] | {"bbox": [1, 2, 3]}]))
    assert "x0" not in read.columns and read["bbox"].tolist() == ["", "", "[1, 2, 3]"]


def test_ids_may_be_called_after_their_part(tmp_path):
    def renamed(rows, part):
        return [{f"{part}_id" if name == "id" else name: value for name, value in row.items()} for row in rows]

    parts = {"images": renamed(IMAGES, "image"), "categories": renamed(CATEGORIES, "category")}
    pd.testing.assert_frame_equal(rows_of(tmp_path, changed(**parts)), rows_of(tmp_path, COCO))


def test_other_lists_are_looked_up_by_a_column_of_both(tmp_path):
    annotations = [row | {"genus_id": row["category_id"] % 2, "place_id": 4} for row in ANNOTATIONS]
    more = {"genera": [{"genus_id": 1, "genus": "G", "category_name": "?"}], "licenses": [{"id": 1, "url": "u"}]}
    more |= {"places": [{"place_id": 9, "country": "X"}]}  # that lacks one
    more |= {"pairs": [{"genus_id": row, "distance": 3} for row in (0, 1, 1)]}  # that has one twice
    remarks = []
    read = rows_of(tmp_path, changed(annotations=annotations, **more), remarks)
    assert read["genus"].tolist() == ["G", "G", "", "G"] and "genus_category_name" not in read.columns
    assert read["category_name"].tolist() == ["owl", "cat", "", "cat"] and {"country", "distance"}.isdisjoint(read)
    assert remarks == [f"{tmp_path / 'a.json'}: left out 3 lists (licenses, places, pairs) that no column refers to"]


def test_tests_have_images_alone(tmp_path):
    for value in ({"images": IMAGES}, {"images": IMAGES, "annotations": []}, changed(annotations=[], categories=[])):
        read = rows_of(tmp_path, value)
        assert read["image_id"].tolist() == ["3", "1", "2"] and read["file_name"].iloc[0] == "1/3.jpg"
        assert read_file(tmp_path / "a.json").form == "COCO: 3 images without annotations"
    assert rows_of(tmp_path, IMAGES)["id"].tolist() == ["3", "1", "2"]  # a list of images is a list of objects


def test_annotations_alone_name_their_images(tmp_path):
    read = rows_of(tmp_path, {"annotations": ANNOTATIONS, "categories": CATEGORIES})
    assert read["image_id"].tolist() == ["2", "3", "3"] and read["category_name"].tolist() == ["cat", "owl", "cat"]


def test_outlines_are_left_out(tmp_path):
    outlines = [
        ANNOTATIONS[0] | {"segmentation": [[0.5] * 70]},
        ANNOTATIONS[1] | {"segmentation": {"counts": [1] * 99}},
    ]
    remarks = []
    assert "segmentation" not in rows_of(tmp_path, changed(annotations=outlines), remarks).columns
    assert remarks == [f"{tmp_path / 'a.json'}: left out 1 column (segmentation) of pixels or other long values"]


def test_annotations_of_no_image_are_told(tmp_path):
    remarks = []
    annotations = [*ANNOTATIONS, {"id": 13, "image_id": 99, "category_id": 5}]
    assert rows_of(tmp_path, changed(annotations=annotations), remarks)["image_id"].tolist() == ["3", "3", "1", "2"]
    assert remarks == [f"{tmp_path / 'a.json'}: left out 1 annotations of 1 image (99) that it does not list"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"images": [*IMAGES, IMAGES[0]]}, r"a\.json: 1 id \(3\) more than once"),
        ({"categories": [*CATEGORIES, CATEGORIES[0]]}, r"a\.json: 1 id \(5\) more than once"),
        ({"categories": ["owl"]}, r"a\.json: `categories` is not a list of objects"),
        ({"images": [{"file_name": "a"}]}, r"a\.json is not COCO JSON as expected: it has no image_id"),
    ],
)
def test_a_broken_file_is_one_line(tmp_path, parts, message):
    with pytest.raises(DataError, match=message):
        rows_of(tmp_path, changed(**parts))


def test_ids_that_were_written_as_floats_are_those_of_integers(tmp_path):
    expected = rows_of(tmp_path, COCO)
    floats = [
        row | {"image_id": float(row["image_id"]), "category_id": float(row["category_id"])} for row in ANNOTATIONS
    ]
    pd.testing.assert_frame_equal(rows_of(tmp_path, changed(annotations=floats)), expected)
    images = [row | {"id": float(row["id"])} for row in IMAGES]
    pd.testing.assert_frame_equal(rows_of(tmp_path, changed(images=images)), expected)


def test_annotations_of_none_of_its_images_are_refused(tmp_path):
    others = [row | {"image_id": f"x{row['image_id']}"} for row in ANNOTATIONS]
    with pytest.raises(DataError, match=r"annotations belong to 2 images \(x2, x3\), but it lists 3 images \(3,"):
        rows_of(tmp_path, changed(annotations=others))
