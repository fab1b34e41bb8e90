"""All tables and images of a folder are found; anything else is named or counted, and never a crash."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from laid_folders import guess_folder, guess_with_oddities, lay_text, lines_by_topic
from pictures import make_pictures

from imettk.config import ExtraTable, TableFormat
from imettk.config.file_kinds import FileKind
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.starter.look import MAX_TABLES, look_at, look_into

ABC = ("train/a.jpg", "train/b.jpg", "train/c.jpg", "train/d.jpg")
LABELS = ["0", "1", "2"] * 4
TITLES = {"0": "Blight", "1": "Mosaic", "2": "Healthy"}


@pytest.fixture
def leaves(tmp_path):
    """Return a folder of pictures with train.csv and sample_submission.csv."""
    return make_pictures(tmp_path, LABELS)


def rewrite(folder, ending, rows=None):
    """Write the training table in another kind of file."""
    frame = pd.read_csv(folder / "train.csv", dtype=str)
    frame = frame if rows is None else frame.assign(label=rows)
    (folder / "train.csv").unlink()
    path = folder / f"train{ending}"
    if ending == ".parquet":
        frame.to_parquet(path)
    elif ending == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif ending == ".map.json":
        path.write_text(json.dumps(dict(zip(frame["id"] + ".png", frame["label"], strict=True))))
    else:
        frame.to_csv(path, index=False, sep="|", encoding="utf-16")
    return frame


@pytest.mark.parametrize(
    ("ending", "form"),
    [
        (".parquet", "parquet, 12 rows"),
        (".jsonl", "JSON lines, 12 rows"),
        (".map.json", "JSON that maps 12 names to values"),
        (".tsv", "12 rows"),
        (".txt", "text, 12 rows"),
    ],
)
def test_any_kind_may_be_the_training_table(leaves, ending, form):
    rewrite(leaves, ending)
    (leaves / "label_num_to_disease_map.json").write_text(json.dumps(TITLES))
    guessed, odd = guess_with_oddities(leaves)
    assert lines_by_topic(guessed)["training table"].startswith(f"train{ending}, {form}: ") and odd == []
    assert guessed.table.labels_csv == "label_num_to_disease_map.json"
    table = read_table(guessed.table, leaves)
    assert table.labels == ("0", "1", "2") and table.label_titles == ("Blight", "Mosaic", "Healthy")
    assert table.targets.tolist() == [0, 1, 2] * 4
    assert len(read_test_table(guessed.table, leaves, table)) == 6


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".map.json"])
def test_lists_in_cells_are_several_labels(leaves, ending):
    rewrite(leaves, ending, [["a"], ["a", "b c"], []] * 4)
    (leaves / "sample_submission.csv").unlink()
    guessed, _ = guess_with_oddities(leaves)
    assert guessed.table.task == "multilabel" and guessed.table.label_lists
    table = read_table(guessed.table, leaves)
    assert table.labels == ("a", "b c") and table.targets.tolist() == [[1, 0], [1, 1], [0, 0]] * 4


def test_files_that_are_not_tables_are_named(leaves):
    (leaves / "config.json").write_text(json.dumps({"train": {"lr": 1}, "model": {"size": 2}}))
    (leaves / "cut.json").write_text('[{"id": ')
    (leaves / "half.parquet").write_bytes(b"PAR1 and no more")
    (leaves / "README.txt").write_text("Notes\nof several, lines\n")
    (leaves / "photo.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    _, odd = guess_with_oddities(leaves)
    for name, fault in (
        ("config.json", "holds no table in a known form: it is an object of train, model"),
        ("cut.json", "is broken JSON"),
        ("half.parquet", "cannot be read"),
        ("photo.csv", "is not a table: it contains bytes that are not text"),
    ):
        assert sum(line.startswith(f"{leaves / name} {fault}") for line in odd) == 1, name
    assert "files of other types are ignored: 1 .txt" in odd and len(odd) == 5


def test_a_library_that_a_table_needs_is_the_reason(leaves, monkeypatch):
    rewrite(leaves, ".parquet")
    load = FileKind.load

    def lacks_pyarrow(kind):  # hidden from pandas too, pyarrow would be missed where it is not needed
        if "pyarrow" in kind.needs:
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return load(kind)

    monkeypatch.setattr(FileKind, "load", lacks_pyarrow)
    line = r"train\.parquet: parquet is read by pyarrow, which is not installed: pip install 'pyarrow>=14'"
    with pytest.raises(DataError, match=line):
        guess_with_oddities(leaves)
    with pytest.raises(DataError, match=line):
        guess_with_oddities(leaves, train_csv="train.parquet")


def test_a_table_in_another_encoding_is_reported(leaves):
    text = (leaves / "train.csv").read_text().replace("label", "étiquette")
    (leaves / "train.csv").write_bytes(text.encode("cp1252"))
    line = f"{leaves / 'train.csv'} is not UTF-8: read as cp1252; save it as UTF-8 if names look wrong"
    guessed, odd = guess_with_oddities(leaves)
    assert odd == [line] and guessed.table.label_column == "étiquette"
    names = {"labels_csv": "train.csv", "label_id_column": "étiquette", "label_name_column": "étiquette"}
    for form in (guessed.table, replace(guessed.table, **names)):
        assert read_table(form, leaves).remarks.count(line) == 1


def test_files_beside_each_image_are_not_tables(leaves):
    for row in range(MAX_TABLES + 1):
        for ending in ("json", "txt"):
            (leaves / "train" / f"{row}.{ending}").write_text("[1, 2]\n3, 4\n")
    contents = look_into(leaves)
    assert {*contents.tables} == {"train.csv", "sample_submission.csv"} and contents.unread == []
    assert contents.others == {".json": MAX_TABLES + 1, ".txt": MAX_TABLES + 1}


def test_boxes_and_lists_may_be_of_any_kind(leaves):
    images = [{"id": row, "file_name": f"train{row:02d}.png"} for row in range(12)]
    boxes = [{"id": row, "image_id": row, "category_id": 1, "bbox": [row, 1, 5, 6]} for row in range(11)]
    kinds = [{"id": 1, "name": "leaf"}]
    (leaves / "boxes.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": kinds}))
    (leaves / "left_out.json").write_text(json.dumps(["train00.png", "train01"]))
    pd.DataFrame({"photo": ["train02"], "why": ["upside down"]}).to_parquet(leaves / "turned.parquet")
    pd.DataFrame({"a": ["0"], "b": ["1"]}).to_csv(leaves / "same.txt", index=False, sep=" ")
    (leaves / "more.jsonl").write_text('{"id": "test00", "label": 2}\n{"id": "test01", "label": 2}\n')
    form = TableFormat(
        task="multiclass", label_column="label", boxes_csv="boxes.json", box_id_column="file_name",
        left_out_csv="left_out.json", turned_csv="turned.parquet", merged_csv="same.txt",
        extra=(ExtraTable(csv="more.jsonl", images="test"),),
    )  # fmt: skip
    table = read_table(form, leaves)
    assert table.ids.tolist() == [*(f"train{row:02d}" for row in range(2, 12)), "test00", "test01"]
    assert table.labels == ("0", "2") and table.targets[-2:].tolist() == [1, 1]
    assert table.boxes[:-3].tolist() == [[row, 1, row + 5, 7] for row in range(2, 11)]
    assert table.turned.tolist() == [True] + [False] * 11
    remarks = "\n".join(table.remarks)
    assert "1 row (train11) without a box in boxes.json" in remarks and "left out 2 rows (train00, train01)" in remarks


def test_grey_channels_and_shapes(tmp_path):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (40, 100), np.uint8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "as_colour.png"), np.repeat(grey[:, :, None], 3, 2))
    looks = look_at([[str(tmp_path / "grey.png")], [str(tmp_path / "as_colour.png")]])
    assert looks.grey and looks.size == (40, 100) and looks.strips == 1
    assert looks.mean == pytest.approx([(grey / 255).mean()], abs=6e-4)
    assert looks.std == pytest.approx([(grey / 255).std()], abs=6e-4)
    colour = rng.integers(0, 256, (40, 50, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "colour.png"), colour)
    looks = look_at([[str(tmp_path / "colour.png")]])
    assert not looks.grey and looks.strips == 0
    assert looks.mean == pytest.approx((colour[:, :, ::-1] / 255).mean((0, 1)), abs=6e-4)
    with pytest.raises(DataError, match="none of 1 images can be read"):
        look_at([[str(tmp_path / "absent.png")]])


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["train/a.nii", "train/b.nii", "more.xml"], r"; it contains 2 \.nii, 1 \.xml, which cannot be read: convert"),
        (
            ["train/a.fits", "train/b.fits", "train/b"],
            r"; it contains 2 \.fits, 1 without an extension, which cannot be read",
        ),
        (["train.zip", "more.zip", "more.7z", "readme.txt"], r"; it contains 2 \.zip, 1 \.7z: unpack them"),
        ([], ": is it the right folder?"),
    ],
)
def test_a_folder_without_images_is_described(tmp_path, files, message):
    lay_text(tmp_path, "id,label\na,owl\n")
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    with pytest.raises(DataError, match=rf"contains no image \(\.bmp, .*\){message}"):
        guess_folder(tmp_path)


def test_no_images(tmp_path):
    with pytest.raises(DataError, match="contains no image"):
        guess_folder(lay_text(tmp_path, "id,label\na,owl\n"))
    with pytest.raises(DataError, match="is not a folder"):
        look_into(tmp_path / "gone")
