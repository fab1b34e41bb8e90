"""The toolkit's own files come back as written; unreadable ones are one line."""

import pytest

from imettk.data.csv_files import list_names, printable, read_csv
from imettk.errors import DataError


def test_cells_are_text_and_may_be_empty(tmp_path):
    (tmp_path / "folds.csv").write_text('id,fold\n007,\n"a, b",1\n')
    assert read_csv(tmp_path / "folds.csv").to_numpy().tolist() == [["007", ""], ["a, b", "1"]]


@pytest.mark.parametrize("content", [b"", b"id,fold\n\xff,1\n", b'id,fold\n"a,1\n'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / "folds.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"folds\.csv is not a readable csv table: "):
        read_csv(tmp_path / "folds.csv")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_csv(tmp_path)


def test_names_are_counted_and_stay_on_one_line():
    assert list_names(["a\nb"], "row") == "1 row (a\\nb)" and printable("é") == "é"
    assert list_names("abcdefg", "row") == "7 rows (a, b, c, d, e, ...)"
