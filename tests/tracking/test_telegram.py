"""Messages sent by the real library to a local server that may be slow, dead or refuse them."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from forked import PATIENCE
from telegram_box import CHAT, TOKEN, TelegramBox

from imettk.errors import UserError
from imettk.tracking.telegram import Credentials, Message, Notifier, find_credentials, send_test, shorten

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)


@pytest.fixture
def box() -> Iterator[TelegramBox]:
    with TelegramBox() as box:
        yield box


@pytest.fixture(autouse=True)
def printed(capfd, caplog) -> Iterator[Callable[[], str]]:
    """Yield a function that returns what was printed so far; at the end, check that the token was never printed."""
    caplog.set_level(logging.DEBUG)
    pieces = []

    def read() -> str:
        pieces.extend(capfd.readouterr())
        return "".join(pieces)

    yield read
    assert TOKEN.split(":")[1] not in read() + caplog.text


def credentials(box: TelegramBox, **changes: str) -> Credentials:
    return Credentials(**({"token": TOKEN, "chat": CHAT, "server": box.url} | changes))


def notifier(box: TelegramBox, **settings: object) -> Notifier:
    quick = {"pause_seconds": 0.01, "answer_seconds": 60.0}
    return Notifier(lambda: credentials(box), **(quick | settings))


def test_messages_come_in_order(box):
    one = notifier(box)
    for number in range(5):
        one.send(lambda number=number: Message(f"message {number}"))
    one.close(PATIENCE)
    assert [fields["text"] for fields in box.sent("sendMessage")] == [f"message {number}" for number in range(5)]


def test_a_shown_message_is_sent_once_and_then_edited(box):
    one = notifier(box)
    one.show("fold0", lambda: Message("0.5", PNG))
    box.wait(1)
    one.show("fold0", lambda: Message("0.6", PNG))
    box.wait(2)
    one.show("fold1", lambda: Message("0.4", PNG))
    one.close(PATIENCE)
    assert [method for method, _ in box.calls if method != "getMe"] == ["sendPhoto", "editMessageMedia", "sendPhoto"]
    first, edit, _ = [fields for method, fields in box.calls if method != "getMe"]
    assert first["caption"] == "0.5" and first["photo"].startswith(b"\x89PNG")
    assert json.loads(edit["media"])["caption"] == "0.6" and edit["message_id"] == "1"


def test_what_waits_is_replaced_and_not_piled_up(box):
    made = []
    one = notifier(box, pause_seconds=PATIENCE)
    one.send(lambda: Message("first"))
    box.wait(1)
    for number in range(100):
        one.show("fold0", lambda number=number: made.append(number) or Message(str(number), PNG))
    one.close(PATIENCE)
    assert made == [99] and [fields["caption"] for fields in box.sent("sendPhoto")] == ["99"]


def test_the_queue_is_bounded(box, printed):
    one = notifier(box, pause_seconds=PATIENCE)
    one.send(lambda: Message("first"))
    box.wait(1)
    for number in range(80):
        one.send(lambda number=number: Message(str(number)))
    one.close(PATIENCE)
    assert [fields["text"] for fields in box.sent("sendMessage")] == ["first", *map(str, range(30, 80))]
    assert "Telegram: 30 messages were dropped" in printed()


@pytest.mark.parametrize("fault", ["500", "429", "hang", "dead"])
def test_a_bad_server_delays_nobody(box, fault, printed):
    answers = {
        "500": (500, {"ok": False, "error_code": 500, "description": "Internal"}),
        "429": (429, {"ok": False, "error_code": 429, "description": "x", "parameters": {"retry_after": 30}}),
        "hang": (0, {}),
    }
    server = box.url if fault != "dead" else "http://127.0.0.1:9/bot"
    box.fault = lambda method, number: answers.get(fault) if method != "getMe" else None
    one = Notifier(lambda: credentials(box, server=server), pause_seconds=0.01, answer_seconds=300.0)
    started = time.perf_counter()
    for number in range(20):
        one.send(lambda number=number: Message(str(number)))
        one.show("fold0", lambda: Message("x", PNG))
    assert time.perf_counter() - started < 25  # one that waited for an answer, or to try again, would take minutes
    started = time.perf_counter()
    one.close(1)
    assert time.perf_counter() - started < 25


def test_a_server_that_recovers_gets_the_message(box):
    refuse = (429, {"ok": False, "error_code": 429, "description": "x", "parameters": {"retry_after": 1}})
    left = [refuse]
    box.fault = lambda method, number: left.pop() if method == "sendMessage" and left else None
    one = notifier(box)
    one.send(lambda: Message("hello"))
    box.wait(2)
    one.close(PATIENCE)
    assert [fields["text"] for fields in box.sent("sendMessage")] == ["hello"]


def test_a_wrong_token_is_told_once(box, printed):
    one = Notifier(lambda: credentials(box, token="123456789:" + "B" * 35), pause_seconds=0.01)
    for _ in range(5):
        one.send(lambda: Message("x"))
        time.sleep(0.05)
    one.close(PATIENCE)
    text = printed()
    assert text.count("Telegram:") == 1 and "no further messages" in text and "BBBB" not in text


def test_a_message_that_is_refused_does_not_stop_the_next(box, printed):
    bad = (400, {"ok": False, "error_code": 400, "description": "Bad Request: can't parse"})
    box.fault = lambda method, number: bad if method == "sendMessage" and number == 0 and not box.sent(
        "sendMessage refused"
    ) else None  # fmt: skip
    one = notifier(box)
    one.send(lambda: Message("first"))
    one.send(lambda: Message("second"))
    one.close(PATIENCE)
    assert [fields["text"] for fields in box.sent("sendMessage")] == ["second"]
    assert "an't parse; a message is skipped" in printed()


def test_an_edit_that_changes_nothing_is_no_fault(box, printed):
    same = (400, {"ok": False, "error_code": 400, "description": "Bad Request: message is not modified: x"})
    box.fault = lambda method, number: same if method == "editMessageMedia" else None
    one = notifier(box)
    one.show("a", lambda: Message("x", PNG))
    box.wait(1)
    one.show("a", lambda: Message("x", PNG))
    one.close(PATIENCE)
    assert box.sent("editMessageMedia refused") and "Telegram" not in printed()


def test_a_message_that_cannot_be_made_is_left_out(box, printed):
    one = notifier(box)
    one.show("a", lambda: 1 / 0)
    one.send(lambda: Message("x"))
    one.close(PATIENCE)
    assert "a message is skipped (ZeroDivisionError" in printed() and box.sent("sendMessage")[0]["text"] == "x"


@pytest.mark.parametrize("character", ["a", "ä", "\U0001d6fc", "\U0001f469\u200d\U0001f52c"])
@pytest.mark.parametrize("keep_end", [True, False])
def test_long_text_fits(box, character, keep_end):
    text = "begin " + character * 5000 + " end"
    short = shorten(text, 4096, keep_end=keep_end)
    assert 4090 <= len(short.encode("utf-16-le")) // 2 <= 4096
    assert short.endswith(" end") if keep_end else short.startswith("begin ")
    assert shorten("short", 4096, keep_end=keep_end) == "short"


def test_over_long_messages_arrive(box):
    one = notifier(box)
    one.send(lambda: Message("Traceback\n" + "x" * 9000 + "\nValueError: the end", keep_end=True))
    one.show("a", lambda: Message("caption " + "y" * 3000, PNG))
    one.close(PATIENCE)
    assert box.sent("sendMessage")[0]["text"].endswith("ValueError: the end")
    assert box.sent("sendPhoto")[0]["caption"].startswith("caption y")


def test_where_credentials_come_from(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    for name in ("TOKEN", "CHAT", "SERVER"):
        monkeypatch.delenv(f"IMETTK_TELEGRAM_{name}", raising=False)
    assert find_credentials() is None
    path = tmp_path / ".config" / "imettk" / "telegram.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"token": TOKEN, "chat": 12}))
    os.chmod(path, 0o644)
    with pytest.raises(UserError, match="can be read by others: chmod 600"):
        find_credentials()
    os.chmod(path, 0o600)
    found = find_credentials()
    assert found == Credentials(TOKEN, "12") and TOKEN not in repr(found)
    path.write_text("{")
    with pytest.raises(UserError, match=r"must hold \{"):
        find_credentials()
    monkeypatch.setenv("IMETTK_TELEGRAM_TOKEN", "t")
    monkeypatch.setenv("IMETTK_TELEGRAM_CHAT", "c")
    assert find_credentials() == Credentials("t", "c")


@pytest.mark.parametrize("end", ["\n", " ", "\r\n", "\t"])
def test_what_was_copied_with_an_end_of_line_is_what_was_meant(box, tmp_path, monkeypatch, end):
    """In the environment, in the file, and as a notebook's secret; the message arrives."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    values = {"token": TOKEN + end, "chat": end + CHAT + end, "server": box.url + end}
    for name, value in values.items():
        monkeypatch.setenv(f"IMETTK_TELEGRAM_{name.upper()}", value)
    assert find_credentials() == credentials(box)
    one = Notifier(pause_seconds=0.01)
    one.send(lambda: Message("it arrives"))
    one.close(20)
    assert [fields["text"] for fields in box.sent("sendMessage")] == ["it arrives"]
    for name in values:
        monkeypatch.setenv(f"IMETTK_TELEGRAM_{name.upper()}", end)
    assert find_credentials() is None
    module = types.ModuleType("kaggle_secrets")
    module.__spec__ = types.SimpleNamespace(name="kaggle_secrets")
    secrets = {f"IMETTK_TELEGRAM_{name.upper()}": value for name, value in values.items()}
    module.UserSecretsClient = lambda: types.SimpleNamespace(get_secret=secrets.__getitem__)
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    assert find_credentials() == Credentials(TOKEN, CHAT)
    path = Path(tmp_path, ".config", "imettk", "telegram.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(values))
    path.chmod(0o600)
    assert find_credentials() == credentials(box)


def test_secrets_of_a_notebook(tmp_path, monkeypatch):
    """Stand in for Kaggle's module, with the secrets attached and offline."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.delenv("IMETTK_TELEGRAM_TOKEN", raising=False)
    module = types.ModuleType("kaggle_secrets")
    module.__spec__ = types.SimpleNamespace(name="kaggle_secrets")
    values = {"IMETTK_TELEGRAM_TOKEN": "t", "IMETTK_TELEGRAM_CHAT": "c"}
    module.UserSecretsClient = lambda: types.SimpleNamespace(get_secret=values.__getitem__)
    monkeypatch.setitem(sys.modules, "kaggle_secrets", module)
    assert find_credentials() == Credentials("t", "c")

    def offline():
        raise ConnectionError

    module.UserSecretsClient = offline
    assert find_credentials() is None


def test_the_test_message(box):
    send_test(credentials(box))
    assert box.sent("sendMessage")[0]["text"] == "imettk: messages arrive here"
    with pytest.raises(UserError, match="rejects this token"):
        send_test(credentials(box, token="123456789:" + "B" * 35))
    with pytest.raises(UserError, match=r"Chat not found.* is chat '1' right"):
        send_test(credentials(box, chat="1"))
    with pytest.raises(UserError, match="cannot be reached"):
        send_test(Credentials(TOKEN, CHAT, "http://127.0.0.1:9/bot"))


def test_without_credentials_it_is_silent(printed):
    one = Notifier(lambda: None)
    one.send(lambda: Message("x"))
    one.close(5)
    assert printed() == ""


def test_a_file_that_others_can_read_is_told_and_fails_nothing(tmp_path, monkeypatch, printed):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.delenv("IMETTK_TELEGRAM_TOKEN", raising=False)
    path = Path(tmp_path, ".config", "imettk", "telegram.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"token": TOKEN, "chat": CHAT}))
    os.chmod(path, 0o604)
    one = Notifier()
    one.close(5)
    assert "chmod 600" in printed()
