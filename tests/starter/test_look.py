"""Every kind of table is seen, with the form of its rows; what is none is named or counted, and is never a crash."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from laid_folders import look_closely as look
from laid_folders import told
from pictures import make_pictures

from imettk.config import ExtraTable, TableFormat
from imettk.config.file_kinds import FileKind
from imettk.data.table import read_table, read_test_table
from imettk.errors import DataError
from imettk.starter.look import MOST_TABLES, look_into

LABELS = ["0", "1", "2"] * 4
TITLES = {"0": "Blight", "1": "Mosaic", "2": "Healthy"}


@pytest.fixture
def leaves(tmp_path):
    """Pictures with train.csv and sample_submission.csv."""
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
    found, odd = look(leaves)
    assert told(found)["training table"].startswith(f"train{ending}, {form}: ") and odd == []
    assert found.table.labels_csv == "label_num_to_disease_map.json"
    table = read_table(found.table, leaves)
    assert table.labels == ("0", "1", "2") and table.label_titles == ("Blight", "Mosaic", "Healthy")
    assert table.targets.tolist() == [0, 1, 2] * 4
    assert len(read_test_table(found.table, leaves, table)) == 6


@pytest.mark.parametrize("ending", [".parquet", ".jsonl", ".map.json"])
def test_lists_in_cells_are_several_labels(leaves, ending):
    rewrite(leaves, ending, [["a"], ["a", "b c"], []] * 4)
    (leaves / "sample_submission.csv").unlink()
    found, _ = look(leaves)
    assert found.table.task == "multilabel" and found.table.label_lists
    table = read_table(found.table, leaves)
    assert table.labels == ("a", "b c") and table.targets.tolist() == [[1, 0], [1, 1], [0, 0]] * 4


def test_what_is_no_table_is_named(leaves):
    (leaves / "config.json").write_text(json.dumps({"train": {"lr": 1}, "model": {"size": 2}}))
    (leaves / "cut.json").write_text('[{"id": ')
    (leaves / "half.parquet").write_bytes(b"PAR1 and no more")
    (leaves / "README.txt").write_text("Notes\nof several, lines\n")
    (leaves / "photo.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    _, odd = look(leaves)
    for name, fault in (
        ("config.json", "holds no table that is understood: it is an object of train, model"),
        ("cut.json", "is broken JSON"),
        ("half.parquet", "cannot be read"),
        ("photo.csv", "is no table: it holds bytes that are no text"),
    ):
        assert sum(line.startswith(f"{leaves / name} {fault}") for line in odd) == 1, name
    assert "files of other kinds are not read: 1 .txt" in odd and len(odd) == 5


def test_a_library_that_a_table_needs_is_the_reason(leaves, monkeypatch):
    rewrite(leaves, ".parquet")
    load = FileKind.load

    def lacks_pyarrow(kind):  # taken away from pandas as well, it would stop what needs none
        if "pyarrow" in kind.needs:
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return load(kind)

    monkeypatch.setattr(FileKind, "load", lacks_pyarrow)
    line = r"train\.parquet: parquet is read by pyarrow, which is not installed: pip install 'imettk\[parquet\]'"
    with pytest.raises(DataError, match=line):
        look(leaves)
    with pytest.raises(DataError, match=line):
        look(leaves, train_csv="train.parquet")


def test_how_a_table_had_to_be_read_is_told(leaves):
    text = (leaves / "train.csv").read_text().replace("label", "étiquette")
    (leaves / "train.csv").write_bytes(text.encode("cp1252"))
    line = f"{leaves / 'train.csv'} is no UTF-8: read as cp1252; save it as UTF-8 if names look wrong"
    found, odd = look(leaves)
    assert odd == [line] and found.table.label_column == "étiquette"
    names = {"labels_csv": "train.csv", "label_id_column": "étiquette", "label_name_column": "étiquette"}
    for form in (found.table, replace(found.table, **names)):
        assert read_table(form, leaves).remarks.count(line) == 1


def test_a_file_beside_each_image_is_no_table(leaves):
    for row in range(MOST_TABLES + 1):
        for ending in ("json", "txt"):
            (leaves / "train" / f"{row}.{ending}").write_text("[1, 2]\n3, 4\n")
    contents = look_into(leaves)
    assert {*contents.tables} == {"train.csv", "sample_submission.csv"} and contents.unread == []
    assert contents.others == {".json": MOST_TABLES + 1, ".txt": MOST_TABLES + 1}


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
    told = "\n".join(table.remarks)
    assert "1 row (train11) without a box in boxes.json" in told and "left out 2 rows (train00, train01)" in told
