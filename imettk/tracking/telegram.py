"""Messages through a Telegram bot, from a thread of their own: nothing waits for them, and nothing fails with them.

Who may send: `IMETTK_TELEGRAM_TOKEN` and `IMETTK_TELEGRAM_CHAT`, as variables or as secrets of a Kaggle notebook, or
`~/.config/imettk/telegram.json` with `token` and `chat`. The token stands in the address of every call, and so in what
libraries log and raise: all of it is cut out before a word is said.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imettk.errors import UserError
from imettk.progress import say

PREFIX = "IMETTK_TELEGRAM_"
SERVER = "https://api.telegram.org/bot"
MAX_TEXT, MAX_CAPTION = 4096, 1024  # in UTF-16 units, as Telegram counts
MAX_WAITING = 50
CLOSE_SECONDS = 20.0


@dataclass(frozen=True)
class Credentials:
    """A bot and whom it writes to; `server` is that of a Bot API, which anyone may run."""

    token: str = field(repr=False)
    chat: str
    server: str = SERVER


@dataclass(frozen=True)
class Message:
    """What is sent.

    Attributes:
        picture: a PNG; its text is shorter.
        keep_end: of a text that is too long its end stays, as of a traceback; otherwise its beginning.
    """

    text: str
    picture: bytes | None = None
    keep_end: bool = False


def find_credentials() -> Credentials | None:
    """From the environment, a Kaggle notebook's secrets (which may take seconds), or the file; None where they are not.

    Raises:
        UserError: the file is readable by others, or damaged.
    """
    values: dict[str, Any] = {name: os.environ.get(PREFIX + name.upper(), "") for name in ("token", "chat", "server")}
    if not values["token"].strip():
        values = _read_file(_config() / "imettk" / "telegram.json") or {
            name: _secret(PREFIX + name.upper()) for name in ("token", "chat")
        }
    # A copied secret often ends with a newline.
    token, chat, server = (str(values.get(name) or "").strip() for name in ("token", "chat", "server"))
    return Credentials(token, chat, server or SERVER) if token and chat else None


def _config() -> Path:
    """Where a user's settings are, by the rule of freedesktop.org."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _read_file(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_mode & 0o077 and os.name == "posix":
            raise UserError(f"{path} holds a token and can be read by others: chmod 600 {path}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        content = None
    if not isinstance(content, dict) or not {"token", "chat"} <= set(content):
        raise UserError(f'{path} must hold {{"token": ..., "chat": ...}}')
    return content


def _secret(label: str) -> str:
    """A secret that is attached to this notebook, or "": offline, not attached, and not on Kaggle are all alike."""
    if importlib.util.find_spec("kaggle_secrets") is None:
        return ""
    try:
        from kaggle_secrets import UserSecretsClient

        return str(UserSecretsClient().get_secret(label))
    except Exception:  # ConnectionError, BackendError, CredentialError
        return ""


class Notifier:
    """Sends what it is given when it can; every method returns at once, but for `close`.

    Without credentials it is silent, and so it is after Telegram has refused them.

    Args:
        find: gives the credentials, asked for in the thread.
        pause_seconds: between two messages; Telegram takes about one a second to a chat.
        answer_seconds: within which an answer has to come.
        tries: of a message.
    """

    def __init__(
        self,
        find: Callable[[], Credentials | None] = find_credentials,
        *,
        pause_seconds: float = 3.0,
        answer_seconds: float = 15.0,
        tries: int = 3,
    ) -> None:
        self._find, self._pause, self._answer, self._tries = find, pause_seconds, answer_seconds, tries
        self._waiting: dict[str, Callable[[], Message]] = {}
        self._shown: dict[str, int] = {}
        self._count = self._lost = 0
        self._token, self._silent = "", False
        self._change, self._closing = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="telegram")
        self._thread.start()

    def send(self, make: Callable[[], Message]) -> None:
        """Send a message of its own, which is made in the thread when its turn has come."""
        self._count += 1
        self._add(f"#{self._count}", make)

    def show(self, key: str, make: Callable[[], Message]) -> None:
        """Send the message of this key, or put this in the place of the one that was sent or that waits."""
        self._add(key, make)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, within so many seconds, and end."""
        self._closing.set()
        with self._change:
            self._change.notify()
        self._thread.join(seconds)

    def _add(self, key: str, make: Callable[[], Message]) -> None:
        with self._change:
            if self._silent:
                return
            self._waiting.pop(key, None)
            self._waiting[key] = make
            if len(self._waiting) > MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
                self._lost += 1
            self._change.notify()

    def _next(self) -> tuple[str, Callable[[], Message]] | None:
        """The oldest that waits; None at the end."""
        with self._change:
            while not self._waiting and not self._closing.is_set():
                self._change.wait()
            if not self._waiting:
                return None
            key = next(iter(self._waiting))
            return key, self._waiting.pop(key)

    def _work(self) -> None:
        try:
            credentials = self._find()
            if credentials is None:
                self._end("")
                return
            self._token = credentials.token
            loop = asyncio.new_event_loop()
            try:
                loop.run_until_complete(self._deliver_all(credentials))
            finally:
                loop.close()
        except Exception as error:  # whatever happens here, the training goes on
            self._end(_plain(error, self._token))

    def _end(self, fault: str) -> None:
        with self._change:
            self._silent = True
            self._waiting.clear()
        if fault:
            say(f"Telegram: {fault}; no messages from here on")

    async def _deliver_all(self, credentials: Credentials) -> None:
        bot = _make_bot(credentials, self._answer)
        async with bot:
            while (item := self._next()) is not None:
                key, make = item
                try:
                    message = make()
                except Exception as error:
                    say(f"Telegram: a message is left out ({type(error).__name__}: {_plain(error, self._token)})")
                    continue
                await self._deliver(bot, credentials.chat, key, message)
                if self._silent:
                    return
                self._closing.wait(self._pause)
        if self._lost:
            say(f"Telegram: {self._lost} messages were dropped: more came than could be sent")

    async def _deliver(self, bot: Any, chat: str, key: str, message: Message) -> None:
        from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter, TelegramError

        for failures in range(1, self._tries + 1):
            wait, fault = 2.0**failures, ""
            try:
                await asyncio.wait_for(self._put(bot, chat, key, message), 2 * self._answer)
                return
            except (InvalidToken, Forbidden) as error:
                self._end(f"{_plain(error, self._token)}: is the token right, and has the chat been opened?")
                return
            except BadRequest as error:
                if "not modified" not in str(error).lower():
                    say(f"Telegram: {_plain(error, self._token)}; a message is left out")
                return
            except RetryAfter as error:
                asked: Any = error.retry_after
                wait, fault = asked.total_seconds(), "the server asks to wait"
            except (TelegramError, TimeoutError) as error:
                fault = _plain(error, self._token)
            if failures == self._tries or self._closing.wait(min(wait, 60.0)):
                say(f"Telegram: {fault}; a message is left out")
                return

    async def _put(self, bot: Any, chat: str, key: str, message: Message) -> None:
        """Send, or edit what was sent under this key; a message with a picture can only be edited with one."""
        from telegram import InputMediaPhoto

        known = self._shown.get(key)
        if message.picture is None:
            await bot.send_message(chat, shorten(message.text, MAX_TEXT, keep_end=message.keep_end))
            return
        caption = shorten(message.text, MAX_CAPTION, keep_end=message.keep_end)
        if known is None:
            sent = await bot.send_photo(chat, message.picture, caption=caption)
            self._shown[key] = sent.message_id
        else:
            await bot.edit_message_media(InputMediaPhoto(message.picture, caption=caption), chat, known)


def notify(text: str) -> None:
    """Send one message, if there are credentials, and wait for it as long as `Notifier.close` does."""
    notifier = Notifier()
    notifier.send(lambda: Message(text))
    notifier.close()


def shorten(text: str, most: int, *, keep_end: bool) -> str:
    """At most so many UTF-16 units of a text, its beginning or its end, with a mark where it was cut."""
    units = text.encode("utf-16-le")
    if len(units) <= 2 * most:
        return text
    mark = "…\n" if keep_end else "\n…"
    room = 2 * (most - len(mark))
    part = units[-room:] if keep_end else units[:room]
    kept = part.decode("utf-16-le", errors="ignore")  # half of a character at the cut is left out
    return mark + kept if keep_end else kept + mark


def send_test(credentials: Credentials, *, answer_seconds: float = 15.0) -> None:
    """Send one message now.

    Raises:
        UserError: what is wrong, and what to do.
    """
    from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError

    async def send() -> None:
        async with _make_bot(credentials, answer_seconds) as bot:
            await bot.send_message(credentials.chat, "imettk: messages arrive here")

    try:
        asyncio.run(send())
    except InvalidToken:
        raise UserError("Telegram does not know this token: ask @BotFather for the bot's") from None
    except (BadRequest, Forbidden) as error:
        text = _plain(error, credentials.token)
        raise UserError(
            f"Telegram: {text}: is chat {credentials.chat!r} right, and have you written to the bot?"
        ) from None
    except TelegramError as error:
        raise UserError(f"Telegram cannot be reached ({_plain(error, credentials.token)})") from None


def _make_bot(credentials: Credentials, answer_seconds: float) -> Any:
    os.environ.setdefault("PTB_TIMEDELTA", "1")  # its retry_after as it will be, and without a warning that it will
    from telegram import Bot
    from telegram.request import HTTPXRequest

    for name in ("telegram", "httpx", "httpcore"):  # they would log the address of every call, with the token in it
        logging.getLogger(name).setLevel(logging.WARNING)
    requests = [
        HTTPXRequest(
            connect_timeout=answer_seconds,
            read_timeout=answer_seconds,
            write_timeout=answer_seconds,
            pool_timeout=answer_seconds,
            media_write_timeout=answer_seconds,
        )
        for _ in range(2)
    ]
    return Bot(credentials.token, base_url=credentials.server, request=requests[0], get_updates_request=requests[1])


def _plain(error: BaseException, token: str) -> str:
    """An error in one line, without the token."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text.replace(token, "***") if token else text)[:200]
