"""Signing in as the real client does: every kind of credentials, each place, logins that end, silent servers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from box_accounts import silent_server
from kaggle_box import Fault, KaggleBox, fast_patience

from imettk.cli import doctor as doctor_module
from imettk.cli.main import main
from imettk.errors import UserError
from imettk.kaggle import client, credentials
from imettk.kaggle.client import Kaggle, NotSignedIn, Patience, Unclear
from imettk.kaggle.credentials import KEY, LOGIN, TOKEN, find_credentials
from imettk.kaggle.datasets import current_version

OLD = "0123456789abcdef" * 2  # a key of the older kind


@pytest.fixture
def box(make_box, tmp_path, monkeypatch, capsys) -> Iterator[KaggleBox]:
    """A server that knows users, and nobody's credentials yet; its secrets are never printed."""
    box = make_box()
    box.add_dataset("me/x", tmp_path)
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setattr(credentials, "_told", set())
    yield box
    printed = "".join(capsys.readouterr())
    assert not [secret for secret in box.secrets() if secret in printed]


@pytest.fixture
def home(box) -> Path:
    """The client's own folder."""
    folder = Path(os.environ["HOME"], ".kaggle")
    folder.mkdir()
    return folder


@pytest.fixture
def config(box) -> Path:
    """The folder that `KAGGLE_CONFIG_DIR` names."""
    folder = Path(os.environ["KAGGLE_CONFIG_DIR"])
    folder.mkdir()
    return folder


def keep(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o600)
    return path


def ask(account: Kaggle) -> int:
    """A call in the user's name."""
    return current_version(account, "me/x")


@contextlib.contextmanager
def refused(box: KaggleBox, error: type[Exception], *says: str) -> Iterator[None]:
    """One line that says so, without a secret."""
    with pytest.raises(error) as caught:
        yield
    text = str(caught.value)
    assert not [word for word in says if word not in text], text
    assert "\n" not in text and not [secret for secret in box.secrets() if secret in text]


# Finding


@pytest.mark.parametrize("folder", ["home", "config"])
@pytest.mark.parametrize("name", ["access_token", "access_token.txt"])
def test_a_token_in_a_file(box, home, config, folder, name):
    place = {"home": home, "config": config}[folder]
    path = keep(place / name, f"\ufeff  {box.add_token('a')}\r\n\n")
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == f"the access token of {path}"


def test_a_token_in_the_environment(box, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", f" {box.add_token('a')}\n")
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == "the access token of KAGGLE_API_TOKEN"
    assert box.unauthorized == []


def test_a_tokens_file_named_in_the_environment(box, tmp_path, monkeypatch):
    path = keep(tmp_path / "my-token", f"{box.add_token('a')}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(path))
    assert ask(Kaggle(fast_patience())) == 1
    assert str(find_credentials()) == f"the access token of {path} (KAGGLE_API_TOKEN)"


def test_a_notebooks_own_token(box, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(keep(tmp_path / "own", box.add_token("own"))))
    monkeypatch.setenv("KAGGLE_API_TOKEN", box.add_token("other", "ann"))
    assert Kaggle(fast_patience()).username == "me"


@pytest.mark.parametrize("source", ["variables", "config", "home", "both"])
def test_a_name_and_a_key(box, home, config, monkeypatch, source):
    if source == "variables":
        monkeypatch.setenv("KAGGLE_USERNAME", " me\n")
        monkeypatch.setenv("KAGGLE_KEY", f"{box.key}\n")
        keep(config / "kaggle.json", json.dumps({"username": "ann", "key": OLD}))
    elif source == "both":  # a variable counts more than the file
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        keep(config / "kaggle.json", json.dumps({"username": "ann", "key": box.key}))
    else:
        keep({"home": home, "config": config}[source] / "kaggle.json", f'{{"username":"me","key":"{box.key} "}}\n')
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert find_credentials().kind == KEY


@pytest.mark.parametrize(
    "content", ["{token}\n", '"{token}"', '{{"username": "ann", "key": "{token}"}}', '{{"token": " {token}"}}']
)
def test_a_token_of_today_in_the_file_of_yesterday(box, home, content):
    path = keep(home / "kaggle.json", content.format(token=box.add_token("a")))
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == f"the access token of {path}"


def test_a_token_of_today_in_the_variable_of_yesterday(box, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", box.add_token("a"))
    assert ask(Kaggle(fast_patience())) == 1


@pytest.mark.parametrize("folder", ["home", "config"])
def test_a_login(box, home, config, folder):
    path = {"home": home, "config": config}[folder] / "credentials.json"
    box.add_login(path)
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)
    assert str(find_credentials()) == f"the login of {path}"
    assert not any(method in ("IntrospectToken", "GenerateAccessToken") for method, _ in box.requests)


def test_settings_and_empty_files_are_no_credentials(box, home, config):
    keep(config / "kaggle.json", '{"competition": "cells", "proxy": null}')
    keep(config / "access_token", "\n")
    keep(home / "credentials.json", "{}")
    with refused(box, UserError, "no Kaggle credentials"):
        Kaggle(fast_patience())
    keep(home / "kaggle.json", json.dumps({"username": "me", "key": box.key}))
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


def test_the_order_is_that_of_the_official_client(box, home, monkeypatch):
    """All are there, each another user's, and one after another is taken away."""
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home))
    monkeypatch.setenv("KAGGLE_API_TOKEN", box.add_token("a", "ann"))
    keep(home / "access_token", box.add_token("b", "bob"))
    keep(home / "access_token.txt", box.add_token("c", "cid"))
    monkeypatch.setenv("KAGGLE_USERNAME", "dan")
    monkeypatch.setenv("KAGGLE_KEY", OLD)
    keep(home / "kaggle.json", json.dumps({"username": "eve", "key": OLD}))
    box.add_login(home / "credentials.json", "fay")
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
        ("access_token", b"KGAT_one two", "must hold a token and nothing else"),
        ("access_token", "KGAT_ü".encode(), "must hold a token"),
        ("access_token", b"\xff\xfeK\x00G\x00", "is not text in UTF-8"),
        ("kaggle.json", b"0123456789abcdef", "must hold"),
        ("kaggle.json", b'{"username": "me", "key": "0123', "must hold"),
        ("kaggle.json", b'["me"]', "must hold"),
        ("kaggle.json", b'{"username": "me", "key": "0123456789abcdef\\n0123"}', "does not hold a user's name and key"),
        ("credentials.json", b'{"refresh_token": "refr', "is damaged: log in again: kaggle auth login"),
        ("credentials.json", b'{"refresh_token": 5}', "is damaged"),
    ],
)
def test_what_is_damaged_is_one_line(box, home, name, content, says):
    (home / name).write_bytes(content)
    with refused(box, UserError, str(home / name), says):
        Kaggle(fast_patience())
    assert (home / name).read_bytes() == content and box.requests == []


def test_a_folder_in_a_files_place_is_one_line(box, home):
    (home / "access_token").mkdir()
    with refused(box, UserError, f"{home / 'access_token'} cannot be read: Is a directory"):
        Kaggle(fast_patience())


def test_a_file_that_is_not_there_is_no_token(box, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "~/my-token")
    with refused(box, UserError, "KAGGLE_API_TOKEN names a file that is not there"):
        Kaggle(fast_patience())


def test_nothing_shows_a_secret(box, home, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", box.add_token("a"))
    keep(home / "kaggle.json", json.dumps({"username": "me", "key": box.key}))
    box.add_login(home / "credentials.json")
    for find in credentials.KINDS.values():
        text = f"{find()!r} {find()}"
        assert not [secret for secret in box.secrets() if secret in text]


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_whatever_others_can_read_is_told(box, home, config, tmp_path, monkeypatch, capsys):
    named = tmp_path / "my-token"
    for path in (named, home / "access_token.txt", config / "kaggle.json", config / "credentials.json"):
        keep(path, "{}").chmod(0o644)
    named.write_text(box.add_token("a"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(named))
    Kaggle(fast_patience())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.startswith("warning: ") and "chmod 600" in line for line in lines)


# Three different faults


def test_without_credentials_all_ways_are_named(box):
    words = ["kaggle auth login", "kaggle.com/settings", "KAGGLE_API_TOKEN", "~/.kaggle/access_token"]
    with refused(box, UserError, "no Kaggle credentials", *words, "KAGGLE_USERNAME", "kaggle.json"):
        Kaggle(fast_patience())
    assert box.requests == []


def test_the_package_is_missing(box, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglesdk", None)
    with refused(box, UserError, "kagglesdk is not installed: `pip install imettk[kaggle]`"):
        Kaggle(fast_patience())


def test_the_package_is_made_in_another_way(box, home, monkeypatch):
    from kagglesdk.kaggle_http_client import KaggleHttpClient

    keep(home / "access_token", box.add_token("a"))
    monkeypatch.delattr(KaggleHttpClient, "_prepare_response")
    with refused(box, UserError, "this kagglesdk is not understood", "_prepare_response", "pip install kagglesdk=="):
        Kaggle(fast_patience())


def test_the_package_that_asks_when_it_is_imported_is_not(box, home, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaggle", None)
    keep(home / "access_token", box.add_token("a"))
    assert ask(Kaggle(fast_patience())) == 1


@pytest.mark.parametrize("answer", ["inactive", 400, 401, 403, 404])
def test_a_token_that_is_not_taken_is_no_reason_to_be_another(box, home, monkeypatch, answer):
    """The official client goes on to the next kind, which may be another account's."""
    monkeypatch.setenv("KAGGLE_API_TOKEN", box.add_token("a"))
    box.add_login(home / "credentials.json", "ann")
    if answer == "inactive":
        box.faults.add("IntrospectToken", Fault(200, body=b"{}"))
    else:
        box.faults.add("IntrospectToken", Fault(answer), times=1 if answer == 400 else 3)
    other = f"the login of {home / 'credentials.json'}: not tried in their place"
    with refused(box, NotSignedIn, "the access token of KAGGLE_API_TOKEN: make a new token", other):
        Kaggle(fast_patience())
    assert Kaggle(fast_patience()).username == "me"  # it was one in passing


@pytest.mark.parametrize("fault", [Fault(401), Fault(403), Fault(503), Fault(0), Fault(200, body=b"<html>")])
def test_signing_in_outlasts_a_fault(box, home, fault):
    keep(home / "access_token", box.add_token("a"))
    box.faults.add("IntrospectToken", fault, times=2)
    assert Kaggle(fast_patience()).username == "me"


def one_line(capsys, code: int, *says: str) -> str:
    """`imettk kaggle status` ends so, and says this."""
    with pytest.raises(SystemExit) as ending:
        main(["kaggle", "status", "me/no-such-kernel/1"])
    error = capsys.readouterr().err
    assert ending.value.code == code and error.count("\n") == 1 and error.startswith("imettk: ")
    assert not [word for word in says if word not in error], error
    return error


@pytest.mark.parametrize("kind", [TOKEN, KEY, LOGIN])
def test_a_refused_sign_in_is_code_2(box, home, monkeypatch, capsys, kind):
    monkeypatch.setattr(client, "Patience", fast_patience)
    if kind == TOKEN:
        path = keep(home / "access_token", "KGAT_nobodys")
    elif kind == KEY:
        path = keep(home / "kaggle.json", json.dumps({"username": "me", "key": OLD}))
    else:
        path = home / "credentials.json"
        box.add_login(path, hours_left=-1)
        box.refresh_tokens.clear()
    says = "log in again: kaggle auth login" if kind == LOGIN else "make a new token under kaggle.com/settings"
    error = one_line(capsys, 2, f"the {kind} of {path}", says, "401")
    assert path.is_file() and "not tried" not in error


@pytest.mark.parametrize("kind", [TOKEN, KEY, LOGIN])
@pytest.mark.parametrize("fault", ["silent", "no network"])
def test_a_server_that_does_not_answer_is_code_1(box, home, monkeypatch, capsys, kind, fault):
    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=3, answer_seconds=0.2, sleep=lambda _: None))
    if kind == TOKEN:
        keep(home / "access_token", box.add_token("a"))
    elif kind == KEY:
        keep(home / "kaggle.json", json.dumps({"username": "me", "key": box.key}))
    else:
        box.add_login(home / "credentials.json", hours_left=-1)
    with silent_server() as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port if fault == 'silent' else 9}")
        one_line(capsys, 1, "no answer from Kaggle", "ReadTimeout" if fault == "silent" else "ProxyError")


# In use for days


def test_a_login_outlives_its_tokens(box, home):
    """The server ends them, every twelve hours; this machine's clock stands still, and so knows of nothing."""
    path = home / "credentials.json"
    refresh = box.add_login(path)
    account = Kaggle(fast_patience())
    for _ in range(72):
        assert ask(account) == 1
        box.clock += 1800
    made = sum(method == "GenerateAccessToken" for method, _ in box.requests)
    assert made == 2
    content = json.loads(path.read_text())
    assert content["refresh_token"] == refresh and content["scopes"] == ["resources.admin:*"]
    assert box.tokens[content["access_token"]].ends == 36 * 3600
    assert path.stat().st_mode & 0o777 == 0o600 and list(home.iterdir()) == [path]


def move_clock(monkeypatch) -> Callable[[timedelta], None]:
    """This machine's clock, as far as credentials look at it."""
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


def test_a_login_is_renewed_before_its_token_ends(box, home, monkeypatch):
    """Both clocks go: no call is ever refused."""
    move = move_clock(monkeypatch)
    box.add_login(home / "credentials.json")
    account = Kaggle(fast_patience())
    for _ in range(36 * 12):
        assert ask(account) == 1
        box.clock += 300
        move(timedelta(seconds=300))
    assert box.unauthorized == []
    assert sum(method == "GenerateAccessToken" for method, _ in box.requests) == 3


@pytest.mark.parametrize(("minutes", "made"), [(11, 0), (9, 1), (0, 1), (-20, 1), (-600, 1)])
def test_a_login_is_renewed_on_the_right_side_of_its_end(box, home, minutes, made):
    """The official client uses a token for half an hour after that."""
    box.add_login(home / "credentials.json", hours_left=minutes / 60)
    assert ask(Kaggle(fast_patience())) == 1
    assert sum(method == "GenerateAccessToken" for method, _ in box.requests) == made and box.unauthorized == []


@pytest.mark.parametrize("expires", ["", None, "soon", 5])
def test_a_login_whose_end_is_not_known_is_renewed(box, home, expires):
    path = home / "credentials.json"
    box.add_login(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"access_token_expiration": expires}))
    assert ask(Kaggle(fast_patience())) == 1
    assert datetime.fromisoformat(json.loads(path.read_text())["access_token_expiration"]) > datetime.now(UTC)


def test_a_token_that_cannot_stand_in_a_header_is_made_anew(box, home):
    path = home / "credentials.json"
    box.add_login(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"access_token": "a\nb", "username": ""}))
    account = Kaggle(fast_patience())
    assert (account.username, ask(account)) == ("me", 1)


def test_a_login_that_cannot_be_kept_is_used_all_the_same(box, home, monkeypatch, capsys):
    path = home / "credentials.json"
    box.add_login(path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(credentials, "_write_private", fail)
    account = Kaggle(fast_patience())
    for _ in range(4):
        box.clock += 13 * 3600
        assert ask(account) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if "cannot be written" in line]
    assert len(told) == 1 and f"{path} cannot be written (Read-only file system)" in told[0]
    assert path.read_bytes() == before


def test_a_renewal_that_is_killed_leaves_the_file_whole(box, home, monkeypatch):
    path = home / "credentials.json"
    box.add_login(path, hours_left=-1)
    before = path.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        Kaggle(fast_patience())
    assert path.read_bytes() == before
    assert ask(Kaggle(fast_patience())) == 1


@pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX's")
def test_a_login_behind_a_link_stays_there(box, home, tmp_path):
    path, target = home / "credentials.json", tmp_path / "dotfiles.json"
    box.add_login(target, hours_left=-1)
    path.symlink_to(target)
    before = target.read_text()
    assert ask(Kaggle(fast_patience())) == 1
    assert path.is_symlink() and target.read_text() != before and target.stat().st_mode & 0o777 == 0o600


def test_processes_share_a_login(box, home):
    box.add_login(home / "credentials.json")
    accounts = [Kaggle(fast_patience()) for _ in range(4)]
    for _ in range(3):
        box.clock += 13 * 3600
        assert [ask(account) for account in accounts] == [1] * 4
    assert sum(method == "GenerateAccessToken" for method, _ in box.requests) == 3


@pytest.mark.parametrize("meanwhile", ["another login", "a log-out"])
def test_a_renewal_undoes_nothing(box, home, monkeypatch, meanwhile):
    """While it waits for its answer, the user logs in anew, or out."""
    path = home / "credentials.json"
    box.add_login(path, hours_left=-1)
    generate, written = box._generate_access_token, []

    def slowly(request):
        answer = generate(request)
        if meanwhile == "another login":
            box.add_login(path, name="-again")
            written.append(path.read_bytes())
        else:
            path.unlink(missing_ok=True)
        return answer

    monkeypatch.setattr(box, "_generate_access_token", slowly)
    account = Kaggle(fast_patience())
    assert ask(account) == 1
    if meanwhile == "another login":
        assert path.read_bytes() == written[0]
    else:
        assert not path.exists()
    box.clock += 13 * 3600
    assert ask(account) == 1  # what is in memory is still good


def test_a_login_that_has_ended_says_so_and_is_left_alone(box, home):
    path = home / "credentials.json"
    box.add_login(path)
    account = Kaggle(fast_patience())
    box.refresh_tokens.clear()
    box.clock += 13 * 3600
    before = path.read_bytes()
    for _ in range(2):
        with refused(box, NotSignedIn, f"the login of {path}: log in again: kaggle auth login", "(401)"):
            ask(account)
    assert path.read_bytes() == before
    box.add_login(path, name="-again")
    assert ask(account) == 1  # whoever looks later goes on


@pytest.mark.parametrize("lives", [0, 60, 10**30, f"{10**30}"])
def test_a_lifetime_without_sense_ends_nothing(box, home, lives):
    box.add_login(home / "credentials.json")
    account = Kaggle(fast_patience())
    box.clock += 13 * 3600
    box.lifetime, generate = 3600, box._generate_access_token
    box._generate_access_token = lambda request: generate(request) | {"expiresIn": lives}
    assert [ask(account) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("fault", [Fault(503), Fault(200, body=b"<html>"), Fault(200, body=b'{"token": "a b"}')])
def test_a_renewal_that_fails_is_unclear(box, home, fault):
    box.add_login(home / "credentials.json")
    account = Kaggle(fast_patience())
    box.clock += 13 * 3600
    box.faults.add("GenerateAccessToken", fault, times=3)
    with refused(box, Unclear, "renewal of the login: "):
        ask(account)
    assert ask(account) == 1


def test_a_token_put_there_meanwhile_is_taken_up(box, home, capsys):
    path = keep(home / "access_token", box.add_token("a"))
    account = Kaggle(fast_patience())
    box.tokens.clear()
    with refused(box, NotSignedIn, "status of x", "(401)", f"the access token of {path}: make a new token"):
        account.ask("datasets", "get_dataset", _request(), what="status of x")
    keep(path, box.add_token("b"))
    assert ask(account) == 1
    path.unlink()
    path = keep(home / "kaggle.json", json.dumps({"username": "Me", "key": box.key}))
    box.username = "Me"
    box.tokens.clear()
    assert ask(account) == 1
    assert f"signing in to Kaggle with the API key of {path}\n" in capsys.readouterr().out


def test_a_file_that_has_gone_is_said_to_be_the_source(box, home):
    path = keep(home / "access_token", box.add_token("a"))
    account = Kaggle(fast_patience())
    path.unlink()
    assert ask(account) == 1
    box.tokens.clear()
    with refused(box, NotSignedIn, f"the access token of {path}: make a new token"):
        ask(account)


def test_another_users_token_does_not_take_over(box, home):
    path = keep(home / "access_token", box.add_token("a"))
    account = Kaggle(fast_patience())
    box.tokens.clear()
    keep(path, box.add_token("b", "ann"))
    for _ in range(2):
        with refused(box, NotSignedIn, f"the access token of {path} is ann's", "in the name of me"):
            ask(account)
    assert account.username == "me"
    keep(path, box.add_token("c"))
    assert ask(account) == 1


def _request():
    from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

    request = ApiGetDatasetRequest()
    request.owner_slug, request.dataset_slug = "me", "x"
    return request


# doctor


def doctor(*words: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(["doctor", *words])
    return int(ending.value.code)


def test_doctor_asks_nobody_unless_told_to(box, home, monkeypatch, capsys):
    monkeypatch.setattr(client, "Patience", fast_patience)
    monkeypatch.setattr(doctor_module, "PACKAGES", {})
    monkeypatch.setattr(doctor_module, "_devices", lambda say: [])
    assert doctor() == 0 and "kaggle     no Kaggle credentials: run" in capsys.readouterr().out
    path = keep(home / "kaggle.json", json.dumps({"username": "me", "key": box.key}))
    assert doctor() == 0 and f"kaggle     the API key of {path}, me's\n" in capsys.readouterr().out
    assert box.requests == []
    assert doctor("--kaggle") == 0
    assert "kaggle     signed in as me; 30.0 of 30.0 GPU hours left" in capsys.readouterr().out
    box.key = "another"
    assert doctor("--kaggle") == 2 and f"the API key of {path}" in capsys.readouterr().err
