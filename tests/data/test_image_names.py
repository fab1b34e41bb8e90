"""Columns name images below their folder, for training and for test rows."""

from dataclasses import replace

import pandas as pd
import pytest

from imettk.config import ExtraTable, TableFormat
from imettk.data.image_names import name_images
from imettk.data.table import read_answers, read_table, read_test_table
from imettk.errors import DataError

HOTELS = TableFormat(
    task="multiclass", id_column="image", label_column="hotel", image_path="{chain}/{image}", image_suffix=""
)


def write(folder, **tables):
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def files_of(table, folder):
    return [path.removeprefix(f"{folder}/") for path in table.paths]


@pytest.fixture
def hotels(tmp_path):
    """Make a table with the same name in two folders, and an image without a chain; test images lie flat."""
    write(
        tmp_path,
        train="image,chain,hotel\na.jpg,0,x\nb.jpg,7,y\nc d*.jpg,7,x\ne.jpg,,y\n",
        sample_submission="image,hotel\nt.jpg,x\nu.jpg,x\n",
    )
    touch(tmp_path, *(f"train/{name}" for name in ("0/a.jpg", "0/b.jpg", "7/b.jpg", "7/c d*.jpg", "e.jpg")))
    touch(tmp_path, "test/t.jpg", "test/u.jpg")
    return tmp_path


def test_columns_make_the_name_and_the_id_stays(hotels):
    table = read_table(HOTELS, hotels)
    assert table.ids.tolist() == ["a.jpg", "b.jpg", "c d*.jpg", "e.jpg"]
    assert files_of(table, hotels) == ["train/0/a.jpg", "train/7/b.jpg", "train/7/c d*.jpg", "train/e.jpg"]
    test = read_test_table(HOTELS, hotels, table)
    assert files_of(test, hotels) == ["test/t.jpg", "test/u.jpg"]


@pytest.mark.parametrize(
    ("pattern", "cells", "name"),
    [
        ("{a}/{b}", ("1", "2"), "1/2"),
        ("{a}/{b}", ("", "2"), "2"),
        ("{a}/{b}", ("1", ""), ""),
        ("{b}", ("1", ""), ""),
        ("all/{a}_{b}/{b}.x", ("1", "2"), "all/1_2/2.x"),
        ("{a}/{b}/{a}", ("1", "", "1"), "1/1"),
        ("{a}", ("x/y z*", ""), "x/y z*"),
    ],
)
def test_empty_cells_are_no_steps(pattern, cells, name):
    frame = pd.DataFrame([["i", *cells[:2]]], columns=["id", "a", "b"], dtype=str)
    assert name_images(TableFormat(image_path=pattern), frame).tolist() == [name]


def test_a_row_whose_name_is_empty_has_no_image(hotels):
    form = replace(HOTELS, id_column="number", image_path="{file_name}")
    write(hotels, train="number,file_name,hotel\n1,0/a.jpg,x\n2,7/b.jpg,y\n3,,y\n")
    with pytest.raises(DataError, match=r"1 row \(3\) without an image"):
        read_table(form, hotels)
    table = read_table(replace(form, on_missing_image="drop"), hotels)
    assert files_of(table, hotels) == ["train/0/a.jpg", "train/7/b.jpg"] and table.ids.tolist() == ["1", "2"]


def test_a_table_of_test_images_names_them_by_the_ids_of_the_sample(hotels):
    form = replace(HOTELS, id_column="number", image_path="{file_name}", test_csv="test.csv")
    write(
        hotels,
        train="number,file_name,hotel\n1,0/a.jpg,x\n2,7/b.jpg,y\n",
        test="number,file_name\n8,u.jpg\n9,t.jpg\n9,t.jpg\n",
        sample_submission="number,hotel\n9,x\n8,x\nw.jpg,x\n",
    )
    touch(hotels, "test/w.jpg")
    table = read_table(form, hotels)
    test = read_test_table(form, hotels, table)
    assert test.ids.tolist() == ["9", "8", "w.jpg"]
    assert files_of(test, hotels) == ["test/t.jpg", "test/u.jpg", "test/w.jpg"]
    remarks = "\n".join(test.remarks)
    assert "1 row (w.jpg) missing in test.csv" in remarks and "without an image" not in remarks
    write(hotels, test="number,file_name\n8,u.jpg\n9,t.jpg\n9,u.jpg\n")
    with pytest.raises(DataError, match=r"test\.csv: 1 id \(9\) more than once"):
        read_test_table(form, hotels, table)
    write(hotels, test="picture,file_name\n8,u.jpg\n")
    with pytest.raises(DataError, match=r"test\.csv has no column number"):
        read_test_table(form, hotels, table)
    with pytest.raises(DataError, match=r"none\.csv is missing"):
        read_test_table(replace(form, test_csv="none.csv"), hotels, table)


def test_ids_are_names_where_the_table_of_test_images_lacks_a_column(hotels):
    write(hotels, test="image,taken\nt.jpg,1\nu.jpg,2\n")
    test = read_test_table(replace(HOTELS, test_csv="test.csv"), hotels, read_table(HOTELS, hotels))
    assert files_of(test, hotels) == ["test/t.jpg", "test/u.jpg"]


def test_the_samples_ids_may_be_called_otherwise(hotels):
    form = replace(HOTELS, sample_id_column="Picture", test_csv="test.csv")
    write(hotels, sample_submission="Picture,hotel\nv.jpg,x\n", test="Picture,chain\nv.jpg,5\n")
    touch(hotels, "test/5/v.jpg")
    labels = read_table(HOTELS, hotels)
    assert files_of(read_test_table(form, hotels, labels), hotels) == ["test/5/v.jpg"]
    write(hotels, sample_submission="Picture,hotel\n1,x\n", test="Picture,image,chain\n1,v.jpg,5\n")
    test = read_test_table(form, hotels, labels)
    assert test.ids.tolist() == ["1"] and files_of(test, hotels) == ["test/5/v.jpg"]


def test_other_tables_and_answers_need_no_such_columns(hotels):
    write(hotels, more="image,hotel\nm.jpg,x\n", answers="image,hotel\nu.jpg,y\nt.jpg,x\n")
    touch(hotels, "more/m.jpg")
    form = replace(HOTELS, extra=(ExtraTable(csv="more.csv", images="more"),))
    table = read_table(form, hotels)
    assert files_of(table, hotels)[-1] == "more/m.jpg"
    assert read_answers(form, hotels / "answers.csv", table.labels, table.ids[:0]).tolist() == []


@pytest.mark.parametrize("cell", ["../..", "/etc", "a/../../.."])
def test_columns_lead_nowhere_else(hotels, cell):
    write(hotels, train=f"image,chain,hotel\na.jpg,0,x\nb.jpg,{cell},y\n")
    with pytest.raises(DataError, match="would lead out of"):
        read_table(HOTELS, hotels)


def test_a_training_table_without_such_a_column_is_refused(hotels):
    with pytest.raises(DataError, match=r"train\.csv has no column brand"):
        read_table(replace(HOTELS, image_path="{brand}/{image}"), hotels)
