"""Kinds of files: found by a name's ending, and a missing module is one line with what installs it."""

import json
import sys

import pytest

from imettk.config.file_kinds import TABLE_READERS, FileKind, import_extra, kind_of
from imettk.errors import DataError

KINDS = {
    "csv": FileKind(make=None, endings=(".csv", ".csv.gz")),
    "gzip": FileKind(make=None, endings=(".gz",)),
    "parquet": FileKind(make=None, endings=(".parquet",), needs="pyarrow.parquet", extra="parquet"),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a/Train.CSV", "csv"), ("train.csv.gz", "csv"), ("b.gz", "gzip"), ("x.parquet", "parquet"), ("csv", None)],
)
def test_a_kind_is_found_by_the_longest_ending(name, kind):
    assert kind_of(name, KINDS) is KINDS.get(kind)


def test_no_two_kinds_of_tables_share_an_ending():
    endings = [ending for kind in TABLE_READERS.values() for ending in kind.endings]
    assert len(set(endings)) == len(endings) and endings == [ending.lower() for ending in endings]


def test_a_module_that_is_there_is_returned():
    assert import_extra("json", "none", "a.json") is json
    KINDS["csv"].require("a.csv")


def test_a_missing_module_is_one_line_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet", raising=False)
    line = r"^data/a\.parquet: to read it, pyarrow must be installed: `pip install 'imettk\[parquet\]'`$"
    with pytest.raises(DataError, match=line):
        KINDS["parquet"].require("data/a.parquet")
