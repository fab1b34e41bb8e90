"""The first line of a csv file says what separates its cells."""

import csv

import pytest

from imettk.data.csv_files import csv_separator


@pytest.mark.parametrize(
    ("header", "separator"),
    [
        ("id,label", ","),
        ("id;label", ";"),
        ("id\tlabel", "\t"),
        ("id", ","),
        ("", ","),
        ("id,label; or labels", ","),
        ('"id; or name",label', ","),
        ('"Lastname, first";label', ";"),
    ],
)
def test_the_separator_is_that_of_the_header(tmp_path, header, separator):
    path = tmp_path / "some.csv"
    path.write_text(f"{header}\n1,2;3\t4\n", encoding="utf-8-sig")
    assert csv_separator(path) == separator
    if sum(mark in header for mark in ",;\t") == 1:  # where only one could be meant
        assert separator == csv.Sniffer().sniff(header + "\n", delimiters=",;\t").delimiter
