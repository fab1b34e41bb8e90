"""Credentials in use for days: logins are renewed and kept, and replaced tokens are used."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from kaggle_box import Fault, fast_patience
from signing_in import ask, keep, refused

from imettk.kaggle import credentials
from imettk.kaggle.client import Kaggle, NotSignedIn, Unclear


def test_a_login_outlives_its_tokens(sign_in_box, home):
    """The server lets them expire every twelve hours; this machine's clock stands still and notices nothing."""
    path = home / "credentials.json"
    refresh = sign_in_box.add_login(path)
    account = Kaggle(fast_patience())
    for _ in range(72):
        assert ask(account) == 1
        sign_in_box.clock += 1800
    made = sum(method == "GenerateAccessToken" for method, _ in sign_in_box.requests)
    assert made == 2
    content = json.loads(path.read_text())
    assert content["refresh_token"] == refresh and content["scopes"] == ["resources.admin:*"]
    assert sign_in_box.tokens[content["access_token"]].ends == 36 * 3600
    assert path.stat().st_mode & 0o777 == 0o600 and list(home.iterdir()) == [path]


def move_clock(monkeypatch) -> Callable[[timedelta], None]:
    """Return a function that moves this machine's clock, as credentials see it."""
    ahead = timedelta()

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + ahead

    def move(by: timedelta) -> None:
        nonlocal ahead
        ahead += by

    monkeypatch.setattr(credentials, "datetime", Clock)
    return move


def test_a_login_is_renewed_before_its_token_ends(sign_in_box, home, monkeypatch):
    """With both clocks moving, no call is ever refused."""
    move = move_clock(monkeypatch)
    sign_in_box.add_login(home / "credentials.json")
    account = Kaggle(fast_patience())
    for _ in range(36 * 12):
        assert ask(account) == 1
        sign_in_box.clock += 300
        move(timedelta(seconds=300))
    assert sign_in_box.unauthorized == []
    assert sum(method == "GenerateAccessToken" for method, _ in sign_in_box.requests) == 3


@pytest.mark.parametrize(("minutes", "made"), [(11, 0), (9, 1), (0, 1), (-20, 1), (-600, 1)])
def test_a_login_is_renewed_ten_minutes_before_its_end(sign_in_box, home, minutes, made):
    """The official client goes on using a token for half an hour after its end."""
    sign_in_box.add_login(home / "credentials.json", hours_left=minutes / 60)
    assert ask(Kaggle(fast_patience())) == 1
    assert (
        sum(method == "GenerateAccessToken" for method, _ in sign_in_box.requests) == made
        and sign_in_box.unauthorized == []
    )


@pytest.mark.parametrize("expires", ["", None, "soon", 5])
def test_a_login_with_an_unknown_end_is_renewed(sign_in_box, home, expires):
    path = home / "credentials.json"
    sign_in_box.add_login(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"access_token_expiration": expires}))
    assert ask(Kaggle(fast_patience())) == 1
    assert datetime.fromisoformat(json.loads(path.read_text())["access_token_expiration"]) > datetime.now(UTC)


def test_an_access_token_that_cannot_be_part_of_a_header_is_replaced(sign_in_box, home):
    path = home / "credentials.json"
    sign_in_box.add_login(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"access_token": "a\nb", "username": ""}))
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)


def test_a_login_whose_file_cannot_be_written_is_used(sign_in_box, home, monkeypatch, capsys):
    path = home / "credentials.json"
    sign_in_box.add_login(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(credentials, "_write_private", fail)
    account = Kaggle(fast_patience())
    for _ in range(4):
        sign_in_box.clock += 13 * 3600
        assert ask(account) == 1
    warnings = [line for line in capsys.readouterr().out.splitlines() if "cannot be written" in line]
    assert len(warnings) == 1 and f"{path} cannot be written (Read-only file system)" in warnings[0]
    assert path.read_bytes() == before


def test_a_killed_renewal_leaves_the_file_whole(sign_in_box, home, monkeypatch):
    path = home / "credentials.json"
    sign_in_box.add_login(path, hours_left=-1)
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        Kaggle(fast_patience())
    assert path.read_bytes() == before
    assert ask(Kaggle(fast_patience())) == 1


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")
def test_a_login_behind_a_link_keeps_the_link(sign_in_box, home, tmp_path):
    path, target = home / "credentials.json", tmp_path / "dotfiles.json"
    sign_in_box.add_login(target, hours_left=-1)
    path.symlink_to(target)
    before = target.read_text()
    assert ask(Kaggle(fast_patience())) == 1
    assert path.is_symlink() and target.read_text() != before and target.stat().st_mode & 0o777 == 0o600


def test_processes_share_a_login(sign_in_box, home):
    sign_in_box.add_login(home / "credentials.json")
    accounts = [Kaggle(fast_patience()) for _ in range(4)]
    for _ in range(3):
        sign_in_box.clock += 13 * 3600
        assert [ask(account) for account in accounts] == [1] * 4
    assert sum(method == "GenerateAccessToken" for method, _ in sign_in_box.requests) == 3


@pytest.mark.parametrize("meanwhile", ["another login", "a log-out"])
def test_a_renewal_undoes_nothing(sign_in_box, home, monkeypatch, meanwhile):
    """While it waits for its answer, the user logs in again, or out."""
    path = home / "credentials.json"
    sign_in_box.add_login(path, hours_left=-1)
    generate, written = sign_in_box._generate_access_token, []

    def slowly(request):
        answer = generate(request)
        if meanwhile == "another login":
            sign_in_box.add_login(path, name="-again")
            written.append(path.read_bytes())
        else:
            path.unlink(missing_ok=True)
        return answer

    monkeypatch.setattr(sign_in_box, "_generate_access_token", slowly)
    account = Kaggle(fast_patience())
    assert ask(account) == 1
    if meanwhile == "another login":
        assert path.read_bytes() == written[0]
    else:
        assert not path.exists()
    sign_in_box.clock += 13 * 3600
    assert ask(account) == 1  # the login in memory is still valid


def test_a_login_that_has_ended_is_reported_and_left_alone(sign_in_box, home):
    path = home / "credentials.json"
    sign_in_box.add_login(path)
    account = Kaggle(fast_patience())
    sign_in_box.refresh_tokens.clear()
    sign_in_box.clock += 13 * 3600
    before = path.read_bytes()
    for _ in range(2):
        with refused(sign_in_box, NotSignedIn, f"the login of {path}: log in again: kaggle auth login", "(401)"):
            ask(account)
    assert path.read_bytes() == before
    sign_in_box.add_login(path, name="-again")
    assert ask(account) == 1  # the same account goes on with it


@pytest.mark.parametrize("lives", [0, 60, 10**30, f"{10**30}"])
def test_an_absurd_lifetime_does_no_harm(sign_in_box, home, lives):
    sign_in_box.add_login(home / "credentials.json")
    account = Kaggle(fast_patience())
    sign_in_box.clock += 13 * 3600
    sign_in_box.lifetime, generate = 3600, sign_in_box._generate_access_token
    sign_in_box._generate_access_token = lambda request: generate(request) | {"expiresIn": lives}
    assert [ask(account) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("fault", [Fault(503), Fault(200, body=b"<html>"), Fault(200, body=b'{"token": "a b"}')])
def test_a_renewal_that_fails_is_unclear(sign_in_box, home, fault):
    sign_in_box.add_login(home / "credentials.json")
    account = Kaggle(fast_patience())
    sign_in_box.clock += 13 * 3600
    sign_in_box.faults.add("GenerateAccessToken", fault, times=3)
    with refused(sign_in_box, Unclear, "renewal of the login: "):
        ask(account)
    assert ask(account) == 1


def test_a_token_that_is_replaced_meanwhile_is_used(sign_in_box, home, capsys):
    path = keep(home / "access_token", sign_in_box.add_token("a"))
    account = Kaggle(fast_patience())
    sign_in_box.tokens.clear()
    with refused(sign_in_box, NotSignedIn, "status of x", "(401)", f"the access token of {path}: make a new token"):
        account.ask("datasets", "get_dataset", _request(), what="status of x")
    keep(path, sign_in_box.add_token("b"))
    assert ask(account) == 1
    path.unlink()
    path = keep(home / "kaggle.json", json.dumps({"username": "Me", "key": sign_in_box.key}))
    sign_in_box.username = "Me"
    sign_in_box.tokens.clear()
    assert ask(account) == 1
    assert f"signing in to Kaggle with the API key of {path}\n" in capsys.readouterr().out


def test_a_deleted_file_is_still_named_as_the_source(sign_in_box, home):
    path = keep(home / "access_token", sign_in_box.add_token("a"))
    account = Kaggle(fast_patience())
    path.unlink()
    assert ask(account) == 1
    sign_in_box.tokens.clear()
    with refused(sign_in_box, NotSignedIn, f"the access token of {path}: make a new token"):
        ask(account)


def test_another_users_token_does_not_take_over(sign_in_box, home):
    path = keep(home / "access_token", sign_in_box.add_token("a"))
    account = Kaggle(fast_patience())
    sign_in_box.tokens.clear()
    keep(path, sign_in_box.add_token("b", "ann"))
    for _ in range(2):
        with refused(sign_in_box, NotSignedIn, f"the access token of {path} is ann's", "in the name of me"):
            ask(account)
    assert account.username == "me"
    keep(path, sign_in_box.add_token("c"))
    assert ask(account) == 1


def _request():
    """Return a request for a dataset."""
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = "me", "x"
    return request
