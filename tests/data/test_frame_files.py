"""Frames in csv and parquet: every float comes back with its bits, and a wrong file is one line."""

import builtins

import numpy as np
import pandas as pd
import pytest

from imettk.data.frame_files import read_frame, read_header, write_frame
from imettk.errors import DataError

ENDINGS = ["csv", "parquet"]
NAMES = np.array(["007", "a,b", 'say "x"', "two\nlines", "NA", "", "é", "1e5"])


def frame_of(rows: int = 4000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, rows, np.uint32).view(np.float32)  # of all sizes, denormal ones too
    shares = rng.random(rows).astype(np.float32)
    numbers = {"self": np.where(np.isfinite(bits), bits, np.float32(0.1)), "path": shares, "wide": rng.random(rows)}
    return pd.DataFrame({"id": np.resize(NAMES, rows), "fold": np.arange(rows) % 5, **numbers})


@pytest.mark.parametrize("ending", ENDINGS)
def test_numbers_and_names_come_back_as_they_were(tmp_path, ending):
    frame, path = frame_of(), tmp_path / f"oof.{ending}"
    write_frame(path, frame)
    before = path.read_bytes()
    write_frame(path, frame)
    assert path.read_bytes() == before and [file.name for file in tmp_path.iterdir()] == [path.name]
    assert read_header(path) == list(frame)
    back = read_frame(path, text=["id", "fold"], numbers=["wide", "path", "self"])
    assert back["id"].tolist() == frame["id"].tolist() and back["fold"].tolist() == frame["fold"].astype(str).tolist()
    for name in ("self", "path"):
        assert back[name].to_numpy().astype(np.float32).tobytes() == frame[name].to_numpy().tobytes(), name
    np.testing.assert_allclose(back["wide"], frame["wide"], rtol=3e-16)


@pytest.mark.parametrize("ending", ENDINGS)
def test_numbers_of_other_kinds_are_read(tmp_path, ending):
    frame = pd.DataFrame({"id": [7, 8], "p": [1, 0], "q": np.array([0.5, np.nan]), "more": ["x", "y"]})
    path = tmp_path / f"oof.{ending}"
    write_frame(path, frame)
    back = read_frame(path, text=["id"], numbers=["p", "q"])
    assert back["id"].tolist() == ["7", "8"] and back["p"].tolist() == [1.0, 0.0]
    assert back["q"][0] == 0.5 and np.isnan(back["q"][1])
    with pytest.raises(DataError, match=r"column more holds 2 cells \('x', 'y'\) that are not numbers"):
        read_frame(path, text=["id"], numbers=["p", "more"])


def test_an_index_of_pandas_is_a_column(tmp_path):
    path = tmp_path / "oof.parquet"
    pd.DataFrame({"p": [0.5]}, index=pd.Index(["007"], name="id")).to_parquet(path)
    assert read_frame(path, text=["id"], numbers=["p"]).iloc[0].tolist() == ["007", 0.5]


@pytest.mark.parametrize(("rows", "message"), [("a,0,5\nb,0,5\n", "first row has more"), ("a,1\nb,0,5\n", "saw 3")])
def test_a_row_with_too_many_cells_is_not_cut(tmp_path, rows, message):
    path = tmp_path / "oof.csv"
    path.write_text("id,p\n" + rows)
    with pytest.raises(DataError, match=message):
        read_frame(path, text=["id"], numbers=["p"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("oof.csv", None, "is missing"),
        ("oof.csv", b"", "is not a readable csv table"),
        ("oof.csv", b"id,a,a\n1,2,3\n", r"1 name \(a\) of more than one column"),
        ("oof.parquet", b"no parquet", "cannot be read as parquet"),
        ("oof.json", b"{}", "must end in .csv or .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_header(tmp_path / name)


def test_parquet_without_its_library_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "oof.parquet").write_bytes(b"PAR1")
    real = builtins.__import__

    def without(name, *arguments, **more):
        if name.startswith(("pyarrow", "imettk.data.parquet")):
            raise ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow")
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("importlib.import_module", without)
    for act in (lambda: read_header(tmp_path / "oof.parquet"), lambda: write_frame(tmp_path / "x.pq", frame_of(1))):
        with pytest.raises(DataError, match=r"pyarrow, which is not installed: pip install 'pyarrow>=14'"):
            act()
