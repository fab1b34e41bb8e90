"""A table of test images links the ids of the sample submission to images, as it does for `prepare`."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
from laid_folders import guess_with_oddities, lines_by_topic

from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError

PNG = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
TRAIN = [f"{number % 3}/t{number}.png" for number in range(12)]
TEST = [f"9/q{number}.png" for number in range(4)]
CLASSES = ["301", "42", "7"]


@pytest.fixture
def plants(tmp_path):
    """Write COCO tables without a sample submission."""
    for name in (*(f"train_images/{name}" for name in TRAIN), *(f"test_images/{name}" for name in TEST)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    images = [{"image_id": f"plant {row}", "file_name": name, "license": row % 2} for row, name in enumerate(TRAIN)]
    annotations = [{"image_id": f"plant {row}", "category_id": CLASSES[row % 3]} for row in range(12)]
    kinds = [{"category_id": name, "species": f"s{name}", "family": "F"} for name in CLASSES]
    train = {"images": images, "annotations": annotations, "categories": kinds}
    (tmp_path / "train_metadata.json").write_text(json.dumps(train))
    test = [{"image_id": row, "file_name": name} for row, name in enumerate(TEST)]
    (tmp_path / "test_metadata.json").write_text(json.dumps(test))
    return tmp_path


def ask(folder, ids, names=("Id", "Predicted")):
    pd.DataFrame({names[0]: ids, names[1]: "42"}).to_csv(folder / "sample_submission.csv", index=False)


def files_of(table, folder):
    return [path.removeprefix(f"{folder}/") for path in table.paths.tolist()]


def test_herbarium(plants):
    ask(plants, [3, 0, 2, 1])
    guessed, odd = guess_with_oddities(plants)
    form = guessed.table
    assert (form.id_column, form.image_path, form.test_csv) == ("image_id", "{file_name}", "test_metadata.json")
    assert (form.sample_id_column, form.answer_column, form.label_column) == ("Id", "Predicted", "category_id")
    lines = lines_by_topic(guessed)
    assert lines["training table"].startswith("train_metadata.json, COCO: 12 annotations of 12 images in 3 categories:")
    assert lines["ids and images"].startswith(
        "column image_id, with image names in file_name: 12 of 12 ids are files in"
    )
    assert lines["labels"].endswith("by its name, and the sample submission shows its value 42")
    assert (
        "test_metadata.json links 4 of its 4 ids to files in test_images/ by column file_name"
        in lines["sample submission"]
    )
    assert odd == [] and guessed.test_files.tolist() == [TEST[row] for row in (3, 0, 2, 1)]
    table = read_table(form, plants)
    test = read_test_table(form, plants, table)
    assert table.ids.tolist() == [f"plant {row}" for row in range(12)]
    assert files_of(table, plants) == [f"train_images/{name}" for name in TRAIN]
    assert test.ids.tolist() == ["3", "0", "2", "1"]
    assert files_of(test, plants) == [f"test_images/{TEST[row]}" for row in (3, 0, 2, 1)]


def test_a_training_table_without_such_ids_is_read_by_its_paths(plants):
    (plants / "train_metadata.json").unlink()
    pd.DataFrame({"file_name": TRAIN, "kind": [*"abc"] * 4}).to_parquet(plants / "train.parquet")
    ask(plants, [1, 2, 0, 3], ("image_id", "kind"))
    guessed, odd = guess_with_oddities(plants)
    assert (guessed.table.id_column, guessed.table.image_path) == ("file_name", "{file_name}")
    assert guessed.table.sample_id_column == "image_id" and odd == []
    table = read_table(guessed.table, plants)
    test = read_test_table(guessed.table, plants, table)
    assert table.ids.tolist() == TRAIN and test.ids.tolist() == ["1", "2", "0", "3"]
    assert files_of(test, plants) == [f"test_images/{TEST[row]}" for row in (1, 2, 0, 3)]


def test_names_in_both_parts_are_found_in_their_own_part(plants):
    for row in range(4):
        (plants / "test_images" / TEST[row]).rename(plants / "test_images" / f"q{row}.png")
        for folder in ("train_images", "test_images"):
            (plants / folder / "0").mkdir(exist_ok=True)
            (plants / folder / "0" / f"{row}.png").write_bytes(PNG)
    pd.DataFrame({"id": range(90, 94), "path": [f"0/{row}.png" for row in range(4)]}).to_csv(
        plants / "test.csv", index=False
    )
    train = [f"0/{row}.png" for row in range(4)]
    pd.DataFrame({"id": [*"wxyz"], "path": train, "kind": [*"abab"]}).to_csv(plants / "train.csv", index=False)
    (plants / "train_metadata.json").unlink()
    (plants / "test_metadata.json").unlink()
    (plants / "z").mkdir()
    (plants / "test_images").rename(plants / "z" / "test_images")
    for row in range(20):  # without the folder's name, these would make it the first choice
        (plants / "z" / "test_images" / f"more{row}.png").write_bytes(PNG)
    ask(plants, range(90, 94), ("Id", "kind"))
    form = guess_with_oddities(plants)[0].table
    assert (form.train_images, form.test_images, form.id_column) == ("train_images", "z/test_images", "id")


def test_ids_that_name_images_need_no_table(plants):
    ask(plants, TEST)
    guessed, _ = guess_with_oddities(plants)
    assert (
        guessed.table.test_csv is None and guessed.table.image_path is None and guessed.table.id_column == "file_name"
    )


@pytest.mark.parametrize("ids", [[0, 1, 2, 77], [0, 1, 2, 2]])
def test_ids_that_the_table_does_not_list_exactly_once_are_refused(plants, ids):
    ask(plants, ids)
    with pytest.raises(DataError, match="no value in Id, Predicted names an image"):
        guess_with_oddities(plants)


def test_a_table_with_a_repeated_id_is_not_used(plants):
    test = json.loads((plants / "test_metadata.json").read_text())
    (plants / "test_metadata.json").write_text(json.dumps([*test, test[0]]))
    ask(plants, [3, 0, 2, 1])
    with pytest.raises(DataError, match="no value in Id, Predicted names an image"):
        guess_with_oddities(plants)


def test_a_requested_column_of_ids_is_used(plants):
    ask(plants, [3, 0, 2, 1])
    assert guess_with_oddities(plants, id_column="image_id")[0].table.id_column == "image_id"
    with pytest.raises(DataError, match="no value in Id, Predicted names an image"):
        guess_with_oddities(plants, id_column="file_name")
