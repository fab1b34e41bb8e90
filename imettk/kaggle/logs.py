"""The log of a running session: streamed if the platform offers a stream, otherwise polled."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from imettk.kaggle.client import Kaggle, owner_of
from imettk.kaggle.outputs import last_state
from imettk.kaggle.sessions import ask_session

POLL_SECONDS = 10.0  # between two looks without an open stream
_END = "END_OF_LOG"
_EVENT = b"data:"


def follow(kaggle: Kaggle, reference: str, version: int, line: Callable[[str], None]) -> str:
    """Call `line` with every line of a session's log as it comes; return the session's status when it has ended.

    Raises:
        PlatformError, UserError: the platform does not report the session's status; as in `Kaggle.ask`.
    """
    seen = 0
    while True:
        session = ask_session(kaggle, reference, version)  # before the log: a log read after the end is complete
        if session.status != "QUEUED":
            # Each connection sends the log from its beginning: skip the lines that came before it broke or timed out.
            for number, text in enumerate(_read(kaggle, reference, version), start=1):
                if number > seen:
                    line(text)
                    seen = number
        if session.ended:
            return session.status
        kaggle.patience.sleep(POLL_SECONDS)


def follow_all(kaggle: Kaggle, sessions: Mapping[str, tuple[str, int]], line: Callable[[str], None]) -> dict[str, str]:
    """Follow several sessions side by side; return the status of each at its end.

    Args:
        sessions: reference and version by the name that is put before each line; "" for none.

    Raises:
        PlatformError, UserError: as in `follow`, after all sessions have ended.
    """
    ended: dict[str, str] = {}
    faults: list[Exception] = []

    def run(name: str, reference: str, version: int) -> None:
        try:
            ended[name] = follow(kaggle, reference, version, lambda text: line(f"{name}: {text}" if name else text))
        except Exception as error:
            faults.append(error)

    threads = [
        threading.Thread(target=run, args=(name, *session), daemon=True)  # Ctrl-C does not wait for them
        for name, session in sessions.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return ended


def _read(kaggle: Kaggle, reference: str, version: int) -> Iterator[str]:
    """Yield the lines of the log from its beginning, as far as there are any now."""
    import requests
    from urllib3.exceptions import HTTPError

    try:
        answer = _open_stream(kaggle, reference, version)
        if answer is not None:
            with answer:
                yield from _streamed(answer)
            return
    except (requests.RequestException, HTTPError):  # urllib3's come through while a stream is read
        return  # the next look continues after the lines that have come
    yield from _lines(_pieces(_ask_log(kaggle, reference, version)))


def _open_stream(kaggle: Kaggle, reference: str, version: int) -> Any:
    """Open the stream of a log as the official client does; return None if there is none."""
    from kagglesdk.kaggle_env import KaggleEnv

    http = kaggle.http
    start = http._endpoint if http._env == KaggleEnv.PROD else f"{http._endpoint}/api"
    owner, slug = owner_of(reference)
    answer = http._session.get(
        f"{start}/v1/kernels/logs/stream/{owner}/{slug}",
        params={"versionLabel": f"v{version}"},
        # Compressed, lines would be held back until a block of them is full.
        headers={"Accept": "text/event-stream, */*", "Accept-Encoding": "identity", "Content-Type": None},
        stream=True,
    )
    if answer.status_code == 200:
        return answer
    answer.close()
    return None


def _streamed(answer: Any) -> Iterator[str]:
    """Yield the lines of a running session's events, or of the whole log of one that has ended."""
    if not answer.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
        yield from _lines(_pieces(answer.content.decode(errors="replace")))
        return
    for event in answer.iter_lines(chunk_size=1):  # a larger chunk would wait until it is full
        if not event.startswith(_EVENT):
            continue
        text = event.removeprefix(_EVENT).strip().decode(errors="replace")
        if text == _END:
            return
        yield from _lines(_pieces(text))


def _ask_log(kaggle: Kaggle, reference: str, version: int) -> str:
    """Return the log that is listed with a session's output."""
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = ApiListKernelSessionOutputRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    request.version_label, request.page_size = f"v{version}", 1
    answer = kaggle.ask("kernels", "list_kernel_session_output", request, what=f"log of {reference}")
    return answer.log or ""


def _pieces(text: str) -> Iterator[str]:
    """Yield the texts of a log, which is a JSON object with `data`, a list of such, or plain text."""
    try:
        content = json.loads(text)
    except ValueError:
        yield text
        return
    for piece in content if isinstance(content, list) else [content]:
        if not isinstance(piece, dict):
            yield str(piece)
        elif piece.get("data") is not None:
            yield str(piece["data"])


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a log's pieces, with or without line ends; of a redrawn progress bar only the last state."""
    for piece in pieces:
        for text in piece.removesuffix("\n").split("\n"):
            yield last_state(text)
