"""Options of `export` and `import`."""

from tiny import code_of, refused

from imettk.cli.exchange import RUNNERS
from imettk.cli.options import make_parser


def test_both_are_parsed(tmp_path):
    assert set(RUNNERS) == {"export", "import"}
    parse = make_parser().parse_args
    assert parse(["export"]).format == "csv" and parse(["export", "--format", "parquet"]).out is None
    assert parse(["import", "--oof", "a.csv"]).test is None


def test_what_they_cannot_do_is_refused(capsys):
    assert code_of("import", "digits") == 2
    assert "--oof" in capsys.readouterr().err
    assert code_of("export", "--format", "pickle") == 2
    assert "--fold belongs to prepare" in refused(capsys, "export", "digits", "--fold", 0)
