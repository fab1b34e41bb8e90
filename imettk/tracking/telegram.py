"""Messages through a Telegram bot, sent by their own thread: training neither waits for them nor fails with them.

The credentials are `IMETTK_TELEGRAM_TOKEN` and `IMETTK_TELEGRAM_CHAT`, as variables or as secrets of a Kaggle notebook,
or `token` and `chat` in `~/.config/imettk/telegram.json`. The token is part of the URL of every call, and so of what
libraries log and raise: it is removed from every error before it is printed.
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
MAX_TEXT, MAX_CAPTION = 4096, 1024  # UTF-16 code units, as Telegram counts
MAX_WAITING = 50  # messages; a server that is down for hours must not fill the memory
CLOSE_SECONDS = 20.0


@dataclass(frozen=True)
class Credentials:
    """A bot, the chat that it writes to, and the Bot API server, which may be the user's own."""

    token: str = field(repr=False)
    chat: str
    server: str = SERVER


@dataclass(frozen=True)
class Message:
    """A text, with or without a picture.

    Attributes:
        picture: a PNG; the text is then its caption, for which Telegram allows a quarter of the length.
        keep_end: cut a text that is too long at its beginning, as suits a traceback, instead of at its end.
    """

    text: str
    picture: bytes | None = None
    keep_end: bool = False


def find_credentials() -> Credentials | None:
    """Return credentials from the environment, the file, or a Kaggle notebook's secrets; None if there are none.

    Asking for secrets takes seconds, so it comes last.

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
    """Return the folder of a user's settings, by the XDG rule."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _read_file(path: Path) -> dict[str, Any] | None:
    """Read the file of credentials; return None if there is none."""
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
    """Return a secret that is attached to this notebook; "" without one, offline, and outside Kaggle."""
    if importlib.util.find_spec("kaggle_secrets") is None:
        return ""
    try:
        from kaggle_secrets import UserSecretsClient

        return str(UserSecretsClient().get_secret(label))
    except Exception:  # ConnectionError, BackendError, CredentialError
        return ""


class Notifier:
    """Sends messages from its own thread; every method except `close` returns at once.

    Without credentials, or after Telegram has refused them, it sends nothing.

    Args:
        find: returns the credentials; called in the thread.
        pause_seconds: pause between two messages; Telegram accepts about one a second in a chat.
        answer_seconds: timeout of a call.
        tries: attempts to send a message.
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
        """Send a separate message; `make` is called in the thread when its turn comes."""
        self._count += 1
        self._add(f"#{self._count}", make)

    def show(self, key: str, make: Callable[[], Message]) -> None:
        """Send the message of this key, or replace the one with this key that was sent or that waits."""
        self._add(key, make)

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send the waiting messages within so many seconds, and end the thread."""
        self._closing.set()
        with self._change:
            self._change.notify()
        self._thread.join(seconds)

    def _add(self, key: str, make: Callable[[], Message]) -> None:
        """Queue a message; a full queue drops its oldest one."""
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
        """Return the oldest waiting message, as soon as there is one; None after `close`."""
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
        except Exception as error:  # whatever fails here, training continues
            self._end(_plain(error, self._token))

    def _end(self, fault: str) -> None:
        """Stop sending, after printing the fault if there is one."""
        with self._change:
            self._silent = True
            self._waiting.clear()
        if fault:
            say(f"Telegram: {fault}; no further messages")

    async def _deliver_all(self, credentials: Credentials) -> None:
        bot = _make_bot(credentials, self._answer)
        async with bot:
            while (item := self._next()) is not None:
                key, make = item
                try:
                    message = make()
                except Exception as error:
                    say(f"Telegram: a message is skipped ({type(error).__name__}: {_plain(error, self._token)})")
                    continue
                await self._deliver(bot, credentials.chat, key, message)
                if self._silent:
                    return
                self._closing.wait(self._pause)
        if self._lost:
            say(f"Telegram: {self._lost} messages were dropped because the queue was full")

    async def _deliver(self, bot: Any, chat: str, key: str, message: Message) -> None:
        from telegram.error import BadRequest, Forbidden, InvalidToken, RetryAfter, TelegramError

        for failures in range(1, self._tries + 1):
            wait, fault = 2.0**failures, ""
            try:
                # Timeouts of httpx hold for each read: a server that sends a byte now and then would keep the thread.
                await asyncio.wait_for(self._put(bot, chat, key, message), 2 * self._answer)
                return
            except (InvalidToken, Forbidden) as error:
                self._end(f"{_plain(error, self._token)}: is the token right, and has the chat been opened?")
                return
            except BadRequest as error:
                if "not modified" not in str(error).lower():  # an edit that changes nothing is an error to Telegram
                    say(f"Telegram: {_plain(error, self._token)}; a message is skipped")
                return
            except RetryAfter as error:
                delay: Any = error.retry_after
                wait, fault = delay.total_seconds(), "the server asks to wait"
            except (TelegramError, TimeoutError) as error:
                fault = _plain(error, self._token)
            # A session that ends does not wait for another attempt.
            if failures == self._tries or self._closing.wait(min(wait, 60.0)):
                say(f"Telegram: {fault}; a message is skipped")
                return

    async def _put(self, bot: Any, chat: str, key: str, message: Message) -> None:
        """Send a message; if one with a picture was sent under this key, edit that instead."""
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
    """Send one message if there are credentials, and wait for it as long as `Notifier.close` does."""
    notifier = Notifier()
    notifier.send(lambda: Message(text))
    notifier.close()


def shorten(text: str, most: int, *, keep_end: bool) -> str:
    """Return at most so many UTF-16 units of a text, its beginning or its end, with a mark at the cut."""
    units = text.encode("utf-16-le")
    if len(units) <= 2 * most:
        return text
    mark = "…\n" if keep_end else "\n…"
    room = 2 * (most - len(mark))
    part = units[-room:] if keep_end else units[:room]
    kept = part.decode("utf-16-le", errors="ignore")  # drops half of a surrogate pair at the cut
    return mark + kept if keep_end else kept + mark


def send_test(credentials: Credentials, *, answer_seconds: float = 15.0) -> None:
    """Send one message now.

    Raises:
        UserError: it cannot be sent; the message says why and what to do.
    """
    from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError

    async def send() -> None:
        async with _make_bot(credentials, answer_seconds) as bot:
            await bot.send_message(credentials.chat, "imettk: messages arrive here")

    try:
        asyncio.run(send())
    except InvalidToken:
        raise UserError("Telegram rejects this token: ask @BotFather for that of your bot") from None
    except (BadRequest, Forbidden) as error:
        text = _plain(error, credentials.token)
        raise UserError(
            f"Telegram: {text}: is chat {credentials.chat!r} right, and have you written to the bot?"
        ) from None
    except TelegramError as error:
        raise UserError(f"Telegram cannot be reached ({_plain(error, credentials.token)})") from None


def _make_bot(credentials: Credentials, answer_seconds: float) -> Any:
    """Return a bot of python-telegram-bot that logs no token."""
    # `retry_after` becomes a timedelta in a later version; asking for it now avoids the deprecation warning.
    os.environ.setdefault("PTB_TIMEDELTA", "1")
    from telegram import Bot
    from telegram.request import HTTPXRequest

    for name in ("telegram", "httpx", "httpcore"):  # at INFO they log the URL of every call, token included
        logging.getLogger(name).setLevel(logging.WARNING)
    # One for calls and one for updates, which are never asked for but would get the library's own timeouts.
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
    """Return an error in one line, without the token."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text.replace(token, "***") if token else text)[:200]
