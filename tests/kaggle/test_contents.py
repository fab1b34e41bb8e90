"""Files that must not go into a dataset are refused, and those that only resemble them are not."""

from __future__ import annotations

import pytest

from imettk.errors import DataError
from imettk.kaggle.pack import PackOrder, make_pack


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("kaggle.json", "{}", "looks like credentials"),
        (".env", "x", "looks like credentials"),
        ("Kaggle.JSON", "{}", "looks like credentials"),
        ("server.PEM", "x", "looks like credentials"),
        ("a.Key", "x", "looks like credentials"),
        (".ENV.local", "x", "looks like credentials"),
        ("ID_RSA", "x", "looks like credentials"),
        (".ENV", "x", "looks like credentials"),
        (".env-old", "x", "looks like credentials"),
        ("Prod.Env", "x", "looks like credentials"),
        ("credentials.JSON", "{}", "looks like credentials"),
        ("kaggle.json.bak", "{}", "looks like credentials"),
        ("Kaggle.json~", "{}", "looks like credentials"),
        ("kaggle (1).json", "{}", "looks like credentials"),
        ("kaggle - Copy.JSON", "{}", "looks like credentials"),
        ("Access_Token.txt", "x", "looks like credentials"),
        ("id_ecdsa.old", "x", "looks like credentials"),
        ("\uff2baggle.json", "{}", "looks like credentials"),  # a full-width K
        ("weights.PT ", "x", "must not go into a dataset; weights travel as .safetensors"),
        ("a#b.csv", "x", "at either end; rename it"),
        ("100%.csv", "x", "at either end; rename it"),
        ("a.csv ", "x", "at either end; rename it"),
        ("a\nb.csv", "x", r"a\\nb\.csv.*at either end; rename it"),
        ("Weights.PTH", "x", "must not go into a dataset; weights travel as .safetensors"),
        ("More.ZIP", "x", "must not go into a dataset, since the platform would unpack"),
        ("weights.pt", "x", "must not go into a dataset; weights travel as .safetensors"),
        ("a@b.csv", "x", "refuses @ and &"),
        ("more.zip", "x", "must not go into a dataset, since the platform would unpack"),
        ("more.tar.gz", "x", "must not go into a dataset, since the platform would unpack"),
        (
            "run.sh",
            "export KAGGLE_KEY=0123456789abcdef0123456789abcdef",
            "line 1 contains what looks like a Kaggle key",
        ),
        ("notes.txt", "one\nkey = '0123456789abcdef0123456789abcdef'", "line 2 contains what looks like a Kaggle key"),
        ("run.sh", "kaggle_key = 0123456789abcdef0123456789abcdef", "line 1 contains what looks like a Kaggle key"),
        ("mine.json", '{"refresh_token": "0123456789abcdef0xyz"}', "line 1 contains what looks like a login token"),
        (
            "notes.txt",
            "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw-",
            "line 1 contains what looks like a Telegram token",
        ),
        ("notes.txt", "-----BEGIN RSA PRIVATE KEY-----", "a private key"),
    ],
)
def test_files_that_must_not_travel_are_refused(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=says) as caught:
        make_pack(tmp_path / "pack", PackOrder(wheels=False, extra=[tmp_path / name]), owner="me")
    assert "0123456789abcdef0" not in str(caught.value) and "AAHdqTcv" not in str(caught.value)
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize(
    "name",
    ["kaggle_notes.py", "credentials.py", "kaggle-cells.json", "environment.py", "my table (2).csv", "monkey.csv"],
)
def test_files_that_only_resemble_them_travel(tmp_path, name):
    (tmp_path / name).write_text("x")
    make_pack(tmp_path / "pack", PackOrder(wheels=False, extra=[tmp_path / name]), owner="me")
    assert (tmp_path / "pack" / name).is_file()


def test_a_secret_in_a_recipe_is_found(tmp_path):
    (tmp_path / "mine.py").write_text('TOKEN = "KGAT_0123456789abcdef0123456789abcdef"\n')
    with pytest.raises(DataError, match="line 1 contains what looks like a Kaggle token"):
        make_pack(tmp_path / "pack", PackOrder(recipe=tmp_path / "mine.py", wheels=False), owner="me")
