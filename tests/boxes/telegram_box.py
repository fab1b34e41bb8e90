"""Telegram in a box: a Bot API server on this machine, with a server's faults."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"
CHAT = "4711"
Fault = tuple[int, dict[str, Any]]  # code and body; code 0 hangs


class TelegramBox:
    """A context manager; `calls` lists what was sent as (method, fields), with pictures as bytes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fault: Callable[[str, int], Fault | None] = lambda method, number: None
        self.free = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.box = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True

    def __enter__(self) -> TelegramBox:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/bot"

    def sent(self, *methods: str) -> list[dict[str, Any]]:
        return [fields for method, fields in self.calls if method in methods]

    def wait(self, count: int, seconds: float = 600.0) -> None:
        """Wait until so many messages have come."""
        end = time.monotonic() + seconds
        while len([call for call in self.calls if call[0] != "getMe"]) < count:
            assert time.monotonic() < end, self.calls
            time.sleep(0.01)

    def answer(self, token: str, method: str, fields: dict[str, Any]) -> Fault:
        if token != TOKEN:
            return 401, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        if (fault := self.fault(method, sum(call[0] == method for call in self.calls))) is not None:
            self.calls.append((f"{method} refused", fields))
            return fault
        if method == "getMe":
            return 200, {"ok": True, "result": {"id": 1, "is_bot": True, "first_name": "b", "username": "b_bot"}}
        if fields.get("chat_id") != CHAT:
            return 400, {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
        text = fields.get("text") or fields.get("caption") or ""
        if len(text.encode("utf-16-le")) // 2 > (4096 if "text" in fields else 1024):
            return 400, {"ok": False, "error_code": 400, "description": "Bad Request: message is too long"}
        self.calls.append((method, fields))
        number = int(fields.get("message_id") or len(self.calls))
        chat = {"id": int(CHAT), "type": "private"}
        return 200, {"ok": True, "result": {"message_id": number, "date": 1, "chat": chat, "text": text}}


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        box: TelegramBox = self.server.box  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, token, method = self.path.replace("/bot", "/", 1).split("/")
        code, answer = box.answer(token, method, _fields(self.headers.get("Content-Type", ""), body))
        if code == 0:
            box.free.wait(600)
            return
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _fields(kind: str, body: bytes) -> dict[str, Any]:
    if kind.startswith("application/x-www-form-urlencoded"):
        from urllib.parse import parse_qsl

        return dict(parse_qsl(body.decode()))
    fields: dict[str, Any] = {}
    boundary = kind.partition("boundary=")[2].encode()
    for part in body.split(b"--" + boundary)[1:-1] if boundary else []:
        head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        fields[name[1].decode()] = content if b"filename=" in head else content.decode()
    return fields
