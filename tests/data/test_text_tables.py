"""Text tables of any separator and encoding come back as pandas wrote them; guesses are remarked."""

import csv
import gzip

import pandas as pd
import pytest

from imettk.data.table_files import NoTableError, read_file, read_rows
from imettk.data.text_tables import first_cells, separator_of
from imettk.errors import DataError

FRAME = pd.DataFrame(
    {"id": ["007", "Zürich, nord", ""], "größe, mm": ["1.50", 'a "b"; c | d', "1e3"], "n": ["", "x\ty", "0"]}
)


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("id,label", ","),
        ("id;label", ";"),
        ("id\tlabel", "\t"),
        ("id|label", "|"),
        ("id", ","),
        ("", ","),
        ("id,label; or labels", ","),
        ('"id; or name",label', ","),
        ('"Lastname, first";label', ";"),
    ],
)
def test_the_separator_is_that_of_the_header(tmp_path, header, separator):
    path = tmp_path / "some.csv"
    path.write_text(f"{header}\n1,2;3\t4|5\n", encoding="utf-8-sig")
    assert separator_of(path) == separator
    if sum(mark in header for mark in ",;\t|") == 1:  # where only one could be meant
        assert separator == csv.Sniffer().sniff(header + "\n", delimiters=",;\t|").delimiter


@pytest.mark.parametrize(
    ("text", "separator"),
    [
        ("id;size, mm\n1;2\n3;4\n", ";"),  # a comma in the header alone
        ("id label\n1 a\n22  b\n", " "),
        ("id label\n1 a\n22\n", ","),  # words in one column
        ("image name\n", ","),
        ("labels\na b\nc d\n", ","),
        ('id,labels\n1,"a;b"\n2,"c;d"\n', ","),
    ],
)
def test_lines_below_the_header_decide_where_it_does_not(tmp_path, text, separator):
    (tmp_path / "some.csv").write_text(text)
    assert separator_of(tmp_path / "some.csv") == separator


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.TSV", "a.csv.gz"])
def test_what_pandas_wrote_comes_back(tmp_path, encoding, separator, name):
    text, remarks = FRAME.to_csv(index=False, sep=separator), []
    content = ("\ufeff" if encoding == "utf-16-le" else "").encode(encoding) + text.encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    frame = read_rows(tmp_path / name, remarks)
    pd.testing.assert_frame_equal(frame, FRAME, check_dtype=False)
    assert remarks == ([f"{tmp_path / name} is not UTF-8: read as cp1252; save it as UTF-8 if names look wrong"]
                       if encoding == "cp1252" else [])  # fmt: skip


def test_a_letter_far_below_shows_the_encoding(tmp_path):
    text = "id,label\n" + "".join(f"{row},a\n" for row in range(30_000)) + "é,b\n"
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    remarks = []
    assert read_rows(tmp_path / "a.csv", remarks)["id"].iloc[-1] == "é" and len(remarks) == 1
    (tmp_path / "a.csv").write_bytes(b"id,label\n\x81,b\n")  # which cp1252 does not have
    assert read_rows(tmp_path / "a.csv", remarks)["id"].tolist() == ["\x81"] and "latin-1" in remarks[1]


def test_decimal_commas_are_points_where_a_whole_column_has_them(tmp_path):
    remarks = []
    (tmp_path / "a.csv").write_text("id;weight;labels;n\n1;3,14;1,2;3\n2;-2,5;1,2,3;4\n3;;3;5\n")
    frame = read_rows(tmp_path / "a.csv", remarks)
    expected = pd.read_csv(tmp_path / "a.csv", sep=";", decimal=",")["weight"]
    assert frame["weight"].replace("", "nan").astype(float).equals(expected)
    assert frame["labels"].tolist() == ["1,2", "1,2,3", "3"]
    assert remarks == [f"{tmp_path / 'a.csv'}: 1 column (weight) of numbers with a decimal comma, read as a point"]
    (tmp_path / "c.csv").write_text("image;unit_id;share\n1,2;3,4;0,5\n1,3;3,4;0,5\n")  # ids are no numbers
    assert read_rows(tmp_path / "c.csv", []).to_numpy().tolist() == [["1,2", "3,4", "0.5"], ["1,3", "3,4", "0.5"]]
    (tmp_path / "c.csv").write_text("height;id\n1,2;3,4\n1,2;3,5\n")
    assert read_rows(tmp_path / "c.csv", []).to_numpy().tolist() == [["1.2", "3,4"], ["1.2", "3,5"]]
    (tmp_path / "b.csv").write_text('id,weight\n1,"3,14"\n')
    assert read_rows(tmp_path / "b.csv", remarks)["weight"].tolist() == ["3,14"]


def test_spaces_separate_where_nothing_else_does(tmp_path):
    (tmp_path / "a.txt").write_text('id   label\n007  a\n8    "b c"\n')
    read = read_file(tmp_path / "a.txt", [])
    assert read.frame.to_numpy().tolist() == [["007", "a"], ["8", "b c"]] and read.form == "text, 2 rows"


@pytest.mark.parametrize("text", ["", "only a few words\n", "Some notes\non the data, in lines\nof any length\n"])
def test_notes_are_no_table(tmp_path, text):
    (tmp_path / "README.txt").write_text(text)
    with pytest.raises(NoTableError, match=r"README\.txt holds no table"):
        read_file(tmp_path / "README.txt", [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", bytes(range(256)) * 9, r"a\.csv is not a table: it contains bytes that are not text"),
        ("a.csv", b"\x89PNG\r\n\x1a\n1234", r"a\.csv is not a table: it contains bytes"),
        ("a.csv", "id,label\n1,2\n".encode("utf-16-le"), r"a\.csv is not a table: it contains bytes"),
        ("a.csv", b"\xff\xfei\x00d\x00,", r"a\.csv is not a readable csv table"),
        ("a.csv.gz", b"id,label\n1,2\n", r"a\.csv\.gz is not a readable csv table: Not a gzipped file"),
        ("a.csv.gz", gzip.compress(b"id,label\n" * 999, mtime=0)[:-20], r"a\.csv\.gz is not a readable csv table"),
        ("a.csv", b"id,label\n1,2,3\n4,5,6\n", r"a\.csv: its rows have more cells than its header"),
    ],
)
def test_a_broken_file_is_one_line_with_its_path(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


LINES = [f"{row:04d}.png{{0}}{'cat' if row % 2 else 'dog'}{{0}}x" for row in range(30)]


def with_marks(path, separator, *, first='"Untitled', last='"Untitled', at=(5, 20)):
    lines = [line.format(separator) for line in LINES]
    for row, mark in zip(at, (first, last), strict=True):
        lines[row] = lines[row][:-1] + mark
    path.write_text("\n".join([separator.join(("id", "label", "caption")), *lines]) + "\n")
    return lines


@pytest.mark.parametrize(
    "marks", [{}, {"at": (5, 6)}, {"last": 'end"'}, {"last": "x"}, {"first": '"Untitled ""4', "at": (0, 29)}]
)
def test_a_quotation_mark_without_another_hides_no_row(tmp_path, marks):
    remarks, row = [], marks.get("at", (5, 20))[0]
    lines = with_marks(tmp_path / "a.tsv", "\t", **marks)
    assert read_rows(tmp_path / "a.tsv", remarks).to_numpy().tolist() == [line.split("\t") for line in lines]
    assert len(remarks) == 1 and f"a.tsv, line {row + 2}: stray quotation mark" in remarks[0]
    for separator in ",;|":
        with_marks(tmp_path / "a.csv", separator, **marks)
        with pytest.raises(DataError, match=rf"a\.csv, line {row + 2}: a quotation mark opens a cell"):
            read_rows(tmp_path / "a.csv")


def test_quoted_cells_may_hold_lines_and_separators(tmp_path):
    for cells in (
        ["first,\nsecond, third", 'a "b\nc", d', '{\n  "a": 1,\n  "b": 2\n}', "x"],
        ["Hello\nyou, there, I say", "x\n", "[[1, 2],\n [3, 4]]", '"'],
    ):
        frame, remarks = pd.DataFrame({"id": list("abcd"), "n": list("1234"), "label": cells}), []
        for separator in ",;\t|":
            frame.to_csv(tmp_path / "a.csv", index=False, sep=separator)
            pd.testing.assert_frame_equal(read_rows(tmp_path / "a.csv", remarks), frame, check_dtype=False)
        assert remarks == []


def test_a_list_needs_no_header(tmp_path):
    (tmp_path / "list.txt").write_text("a b.jpg\nc d.jpg\n")
    assert first_cells(tmp_path / "list.txt") == ["a b.jpg", "c d.jpg"]
    (tmp_path / "list.csv").write_bytes("é.jpg;why\nb.jpg;how\n".encode("utf-16"))
    assert first_cells(tmp_path / "list.csv") == ["é.jpg", "b.jpg"]
    (tmp_path / "list.csv").write_text("")
    assert first_cells(tmp_path / "list.csv") == []
