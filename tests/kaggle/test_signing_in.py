"""Signing in: a missing package, missing or refused credentials, and a silent server are different errors."""

from __future__ import annotations

import json
import sys

import pytest
from box_accounts import silent_server
from kaggle_box import Fault, fast_patience
from signing_in import OLD_KEY, ask, keep, refused

from imettk.cli import doctor as doctor_module
from imettk.cli.main import main
from imettk.errors import UserError
from imettk.kaggle import client
from imettk.kaggle.client import Kaggle, NotSignedIn, Patience
from imettk.kaggle.credentials import KEY, LOGIN, TOKEN


def test_without_credentials_all_ways_to_sign_in_are_named(sign_in_box):
    words = ["kaggle auth login", "kaggle.com/settings", "KAGGLE_API_TOKEN", "~/.kaggle/access_token"]
    with refused(sign_in_box, UserError, "no Kaggle credentials", *words, "KAGGLE_USERNAME", "kaggle.json"):
        Kaggle(fast_patience())
    assert sign_in_box.requests == []


def test_a_missing_package_is_named(sign_in_box, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglesdk", None)
    with refused(sign_in_box, UserError, "kagglesdk is not installed: pip install 'kaggle>=2.2' 'kagglesdk>=0.1.38'"):
        Kaggle(fast_patience())


def test_a_package_with_other_internals_is_one_line(sign_in_box, home, monkeypatch):
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    keep(home / "access_token", sign_in_box.add_token("a"))
    monkeypatch.delattr(KaggleHttpClient, "_prepare_response")
    with refused(
        sign_in_box,
        UserError,
        "this version of kagglesdk is not supported",
        "_prepare_response",
        "pip install kagglesdk==",
    ):
        Kaggle(fast_patience())


def test_kaggle_itself_is_not_imported(sign_in_box, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle", None)
    keep(home / "access_token", sign_in_box.add_token("a"))
    assert ask(Kaggle(fast_patience())) == 1


@pytest.mark.parametrize("answer", ["inactive", 400, 401, 403, 404])
def test_a_refused_token_never_leads_to_another_account(sign_in_box, home, monkeypatch, answer):
    """The official client tries the next kind, which may belong to another account."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", sign_in_box.add_token("a"))
    sign_in_box.add_login(home / "credentials.json", "ann")
    if answer == "inactive":
        sign_in_box.faults.add("IntrospectToken", Fault(200, body=b"{}"))
    else:
        sign_in_box.faults.add("IntrospectToken", Fault(answer), times=1 if answer == 400 else 3)
    other = f"the login of {home / 'credentials.json'}: not tried in their place"
    with refused(sign_in_box, NotSignedIn, "the access token of KAGGLE_API_TOKEN: make a new token", other):
        Kaggle(fast_patience())
    assert Kaggle(fast_patience()).username == "me"  # the refusal was a passing one


@pytest.mark.parametrize("fault", [Fault(401), Fault(403), Fault(503), Fault(0), Fault(200, body=b"<html>")])
def test_signing_in_outlasts_a_fault(sign_in_box, home, fault):
    keep(home / "access_token", sign_in_box.add_token("a"))
    sign_in_box.faults.add("IntrospectToken", fault, times=2)
    assert Kaggle(fast_patience()).username == "me"


def one_line(capsys, code: int, *says: str) -> str:
    """Run `imettk kaggle status`, which must end with this code and one line with these words; return the line."""
    with pytest.raises(SystemExit) as ending:
        main(["kaggle", "status", "me/no-such-kernel/1"])
    error = capsys.readouterr().err
    assert ending.value.code == code and error.count("\n") == 1 and error.startswith("imettk: ")
    assert not [word for word in says if word not in error], error
    return error


@pytest.mark.parametrize("kind", [TOKEN, KEY, LOGIN])
def test_a_refused_sign_in_is_code_2(sign_in_box, home, monkeypatch, capsys, kind):
    monkeypatch.setattr(client, "Patience", fast_patience)
    if kind == TOKEN:
        path = keep(home / "access_token", "KGAT_nobodys")
    elif kind == KEY:
        path = keep(home / "kaggle.json", json.dumps({"username": "me", "key": OLD_KEY}))
    else:
        path = home / "credentials.json"
        sign_in_box.add_login(path, hours_left=-1)
        sign_in_box.refresh_tokens.clear()
    says = "log in again: kaggle auth login" if kind == LOGIN else "make a new token under kaggle.com/settings"
    error = one_line(capsys, 2, f"the {kind} of {path}", says, "401")
    assert path.is_file() and "not tried" not in error


@pytest.mark.parametrize("kind", [TOKEN, KEY, LOGIN])
@pytest.mark.parametrize("fault", ["silent", "no network"])
def test_a_silent_server_is_code_1(sign_in_box, home, monkeypatch, capsys, kind, fault):
    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=3, answer_seconds=0.2, sleep=lambda _: None))
    if kind == TOKEN:
        keep(home / "access_token", sign_in_box.add_token("a"))
    elif kind == KEY:
        keep(home / "kaggle.json", json.dumps({"username": "me", "key": sign_in_box.key}))
    else:
        sign_in_box.add_login(home / "credentials.json", hours_left=-1)
    with silent_server() as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port if fault == 'silent' else 9}")
        one_line(capsys, 1, "no answer from Kaggle", "ReadTimeout" if fault == "silent" else "ProxyError")


def doctor(*words: str) -> int:
    """Run `imettk doctor`, and return its exit code."""
    with pytest.raises(SystemExit) as ending:
        main(["doctor", *words])
    return int(ending.value.code)


def test_doctor_calls_the_server_only_to_sign_in(sign_in_box, home, monkeypatch, capsys):
    monkeypatch.setattr(client, "Patience", fast_patience)
    monkeypatch.setattr(doctor_module, "broken_packages", dict)
    monkeypatch.setattr(doctor_module, "_devices", lambda: ("", []))
    assert doctor() == 0 and "kaggle     no Kaggle credentials: run" in capsys.readouterr().out
    path = keep(home / "kaggle.json", json.dumps({"username": "me", "key": sign_in_box.key}))
    assert doctor() == 0
    text = " ".join(capsys.readouterr().out.split())  # without the ends of its lines
    assert f"kaggle the API key of {path}, me's; `imettk doctor --kaggle` shows the GPU hours left" in text
    assert text.endswith("next: imettk kaggle preflight RECIPE --competition SLUG")
    assert sign_in_box.requests == []
    assert doctor("--kaggle") == 0
    assert "kaggle     signed in as me; 30.0 of 30.0 GPU hours left" in capsys.readouterr().out
    sign_in_box.key = "another"
    assert doctor("--kaggle") == 2 and f"the API key of {path}" in capsys.readouterr().err
