"""Credentials are found in every place and form, in the official client's order; damaged ones are one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kaggle_box import fast_patience
from signing_in import OLD_KEY, ask, keep, refused

from imettk.errors import UserError
from imettk.kaggle import credentials
from imettk.kaggle.client import Kaggle
from imettk.kaggle.credentials import KEY, LOGIN, TOKEN, find_credentials


@pytest.mark.parametrize("folder", ["home", "config"])
@pytest.mark.parametrize("name", ["access_token", "access_token.txt"])
def test_a_token_in_a_file(sign_in_box, home, config, folder, name):
    place = {"home": home, "config": config}[folder]
    path = keep(place / name, f"\ufeff  {sign_in_box.add_token('a')}\r\n\n")
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == f"the access token of {path}"


def test_a_token_in_the_environment(sign_in_box, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", f" {sign_in_box.add_token('a')}\n")
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == "the access token of KAGGLE_API_TOKEN"
    assert sign_in_box.unauthorized == []


def test_a_token_file_named_in_the_environment(sign_in_box, tmp_path, monkeypatch):
    path = keep(tmp_path / "my-token", f"{sign_in_box.add_token('a')}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(path))
    assert ask(Kaggle(fast_patience())) == 1
    assert str(find_credentials()) == f"the access token of {path} (KAGGLE_API_TOKEN)"


def test_a_notebooks_own_token(sign_in_box, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(keep(tmp_path / "own", sign_in_box.add_token("own"))))
    monkeypatch.setenv("KAGGLE_API_TOKEN", sign_in_box.add_token("other", "ann"))
    assert Kaggle(fast_patience()).username == "me"


@pytest.mark.parametrize("source", ["variables", "config", "home", "both"])
def test_a_name_and_a_key(sign_in_box, home, config, monkeypatch, source):
    if source == "variables":
        monkeypatch.setenv("KAGGLE_USERNAME", " me\n")
        monkeypatch.setenv("KAGGLE_KEY", f"{sign_in_box.key}\n")
        keep(config / "kaggle.json", json.dumps({"username": "ann", "key": OLD_KEY}))
    elif source == "both":  # a variable overrides the file
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        keep(config / "kaggle.json", json.dumps({"username": "ann", "key": sign_in_box.key}))
    else:
        keep(
            {"home": home, "config": config}[source] / "kaggle.json",
            f'{{"username":"me","key":"{sign_in_box.key} "}}\n',
        )
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert find_credentials().kind == KEY


@pytest.mark.parametrize(
    "content", ["{token}\n", '"{token}"', '{{"username": "ann", "key": "{token}"}}', '{{"token": " {token}"}}']
)
def test_a_new_token_in_the_file_of_an_older_key(sign_in_box, home, content):
    path = keep(home / "kaggle.json", content.format(token=sign_in_box.add_token("a")))
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == f"the access token of {path}"


def test_a_new_token_in_the_variable_of_an_older_key(sign_in_box, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", sign_in_box.add_token("a"))
    assert ask(Kaggle(fast_patience())) == 1


@pytest.mark.parametrize("folder", ["home", "config"])
def test_a_login(sign_in_box, home, config, folder):
    path = {"home": home, "config": config}[folder] / "credentials.json"
    sign_in_box.add_login(path)
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == f"the login of {path}"
    assert not any(method in ("IntrospectToken", "GenerateAccessToken") for method, _ in sign_in_box.requests)


def test_settings_and_empty_files_are_no_credentials(sign_in_box, home, config):
    keep(config / "kaggle.json", '{"competition": "cells", "proxy": null}')
    keep(config / "access_token", "\n")
    keep(home / "credentials.json", "{}")
    with refused(sign_in_box, UserError, "no Kaggle credentials"):
        Kaggle(fast_patience())
    keep(home / "kaggle.json", json.dumps({"username": "me", "key": sign_in_box.key}))
    assert ask(Kaggle(fast_patience())) == 1


OFFICIAL = """
import json, os, sys
from pathlib import Path
from kaggle.api.kaggle_api_extended import KaggleApi
KaggleApi.args = ["--local"]
for step in json.loads(sys.argv[1]):
    os.environ.pop(step, None) or Path(step).unlink(missing_ok=True)
    api = KaggleApi()
    api.config_values = {}
    api.authenticate()
    print("SAYS", api.config_values["auth_method"], api.config_values["username"])
"""


def test_the_order_is_that_of_the_official_client(sign_in_box, home, monkeypatch):
    """All kinds exist, each of another user, and are removed one after another."""
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home))
    monkeypatch.setenv("KAGGLE_API_TOKEN", sign_in_box.add_token("a", "ann"))
    keep(home / "access_token", sign_in_box.add_token("b", "bob"))
    keep(home / "access_token.txt", sign_in_box.add_token("c", "cid"))
    monkeypatch.setenv("KAGGLE_USERNAME", "dan")
    monkeypatch.setenv("KAGGLE_KEY", OLD_KEY)
    keep(home / "kaggle.json", json.dumps({"username": "eve", "key": OLD_KEY}))
    sign_in_box.add_login(home / "credentials.json", "fay")
    steps = ["nothing", "KAGGLE_API_TOKEN", *(str(home / name) for name in ("access_token", "access_token.txt"))]
    steps += ["KAGGLE_KEY", "KAGGLE_USERNAME", str(home / "kaggle.json")]
    before = {name: path.read_text() for name in steps if (path := Path(name)).is_file()}
    words = [sys.executable, "-c", OFFICIAL, json.dumps(steps)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    says = [tuple(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("SAYS")]
    for name, content in before.items():
        keep(Path(name), content)
    kinds = {TOKEN: "ACCESS_TOKEN", KEY: "LEGACY_API_KEY", LOGIN: "OAUTH"}
    ours = []
    for step in steps:
        monkeypatch.delenv(step, raising=False)
        Path(step).unlink(missing_ok=True)
        ours.append((kinds[find_credentials().kind], Kaggle(fast_patience()).username))
    assert ours == says
    assert [name for _, name in ours] == ["ann", "bob", "cid", "dan", "dan", "eve", "fay"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("access_token", b"KGAT_one two", "must contain a token and nothing else"),
        ("access_token", "KGAT_ü".encode(), "must contain a token"),
        ("access_token", b"\xff\xfeK\x00G\x00", "is not text in UTF-8"),
        ("kaggle.json", b"0123456789abcdef", "must contain"),
        ("kaggle.json", b'{"username": "me", "key": "0123', "must contain"),
        ("kaggle.json", b'["me"]', "must contain"),
        (
            "kaggle.json",
            b'{"username": "me", "key": "0123456789abcdef\\n0123"}',
            "does not contain a user's name and key",
        ),
        ("credentials.json", b'{"refresh_token": "refr', "is damaged: log in again: kaggle auth login"),
        ("credentials.json", b'{"refresh_token": 5}', "is damaged"),
    ],
)
def test_damaged_credentials_are_one_line(sign_in_box, home, name, content, says):
    (home / name).write_bytes(content)
    with refused(sign_in_box, UserError, str(home / name), says):
        Kaggle(fast_patience())
    assert (home / name).read_bytes() == content and sign_in_box.requests == []


def test_a_folder_in_place_of_a_file_is_one_line(sign_in_box, home):
    (home / "access_token").mkdir()
    with refused(sign_in_box, UserError, f"{home / 'access_token'} cannot be read: Is a directory"):
        Kaggle(fast_patience())


def test_the_name_of_a_missing_file_is_not_taken_for_a_token(sign_in_box, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "~/my-token")
    with refused(sign_in_box, UserError, "KAGGLE_API_TOKEN names a file that does not exist"):
        Kaggle(fast_patience())


def test_no_text_of_credentials_contains_a_secret(sign_in_box, home, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", sign_in_box.add_token("a"))
    keep(home / "kaggle.json", json.dumps({"username": "me", "key": sign_in_box.key}))
    sign_in_box.add_login(home / "credentials.json")
    for find in credentials.KINDS.values():
        text = f"{find()!r} {find()}"
        assert not [secret for secret in sign_in_box.secrets() if secret in text]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_keys_that_others_can_read_are_reported(sign_in_box, home, config, tmp_path, monkeypatch, capsys):
    named = tmp_path / "my-token"
    for path in (named, home / "access_token.txt", config / "kaggle.json", config / "credentials.json"):
        keep(path, "{}").chmod(0o644)
    named.write_text(sign_in_box.add_token("a"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(named))
    Kaggle(fast_patience())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.startswith("warning: ") and "chmod 600" in line for line in lines)
