"""The output of a session: its list of files with hashes, written in the kernel, and the download, verified by it."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from imettk.errors import MismatchError, PlatformError, UserError
from imettk.kaggle.client import Kaggle, NotThere, Refused, Unclear, owner_of
from imettk.kaggle.contents import name_fault
from imettk.kaggle.waiting import wait_until
from imettk.progress import progress_bar
from imettk.tracking.files import sha256, write_json

OUTPUT = "imettk-output.json"
PARTIAL = ".part"
# At the top of a notebook's output: the platform changes them to the end of the session, and does not give them out.
PLATFORM_FILES = re.compile(r"__\w+__\.\w+|\.virtual_documents|\.ipynb_checkpoints")
LATE_TRIES = 3  # after which a list whose files are missing, or the list of another push, counts as final
LISTED_SECONDS = 900.0  # the time after the end of a session within which its output must be listed
_PAGE = 100
_CHUNK = 1 << 20


def write_output_list(
    folder: Path, *, push: str, command: str, code: int | None, seconds: float, lacks: Sequence[str] = ()
) -> None:
    """Write `imettk-output.json`: the push that made this output, its command's end, every file's size and SHA-256.

    The platform's own files are left out: they still change, and no download would match the list.

    Args:
        code: the command's exit code; None if it has not ended, and then no files are listed.
        seconds: the time since the kernel's first line.
        lacks: the pushes whose outputs were needed as inputs and not attached.
    """
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in (sorted(folder.rglob("*")) if code is not None else [])
        if path.is_file() and path.name != OUTPUT and not PLATFORM_FILES.fullmatch(path.relative_to(folder).parts[0])
    }
    # "stage": the command's name in earlier versions, whose lists and readers are still in use.
    content: dict[str, Any] = {"push": push, "stage": command, "code": code, "seconds": round(seconds, 1)}
    write_json(folder / OUTPUT, content | ({"lacks": list(lacks)} if lacks else {}) | {"files": files})


def read_output_list(folder: Path) -> dict[str, Any] | None:
    """Return the list of an output folder, or None if it has none."""
    try:
        content = json.loads((folder / OUTPUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def list_files(kaggle: Kaggle, reference: str, version: int) -> tuple[dict[str, str], str]:
    """Return the addresses of a session's output files by name, and its log as plain text."""
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = ApiListKernelSessionOutputRequest()
    request.user_name, request.kernel_slug = owner_of(reference)
    request.version_label = f"v{version}"
    request.page_size = _PAGE
    files: dict[str, str] = {}
    log = ""
    while True:
        answer = kaggle.ask("kernels", "list_kernel_session_output", request, what=f"output of {reference}", there=True)
        files |= {file.file_name: file.url for file in answer.files or []}
        log = log or answer.log or ""
        if not answer.next_page_token:
            return files, plain_log(log)
        request.page_token = answer.next_page_token


def log_end(kaggle: Kaggle, reference: str, version: int, num_lines: int) -> list[str]:
    """Return the last lines of a session's log, or one line that explains why it cannot be read."""
    try:
        _, log = list_files(kaggle, reference, version)
    except (PlatformError, UserError) as error:
        log = f"(no log: {error})"
    return log.rstrip().splitlines()[-num_lines:]


def plain_log(log: str) -> str:
    """Convert a log, which the platform gives as a JSON list of pieces, to text with the last state of each bar."""
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        log = "".join(str(piece.get("data") or "") for piece in json.loads(log))
    return "\n".join(map(last_state, log.split("\n")))


def last_state(line: str) -> str:
    """Return a line of a log as it was drawn last: a progress bar returns to its start again and again."""
    return line.rstrip("\r").rpartition("\r")[2]


def read_remote_list(kaggle: Kaggle, reference: str, version: int, *, push: str = "") -> dict[str, Any] | None:
    """Return the `imettk-output.json` of a session, or None if the platform does not list one (yet).

    Its "code" is None if the session was ended before its command. Its files are then those that the platform lists,
    with size 0 and SHA-256 "", since the kernel did not get to measuring them.

    Args:
        push: the push that must have written the list, any other being out of date; "" accepts any.
    """
    urls, _ = list_files(kaggle, reference, version)
    listed = _find_list(kaggle, urls, reference)
    return None if listed is None or (push and listed["push"] != push) else listed


def wait_listed(
    kaggle: Kaggle, reference: str, version: int, *, push: str = "", limit_seconds: float = LISTED_SECONDS
) -> dict[str, Any] | None:
    """Return the list of a session that has ended, as `read_remote_list` does, after waiting for a late one.

    Returns the list of an unfinished command, or None, if there is no better one within the limit.
    """
    best: dict[str, Any] | None = None

    def look() -> tuple[dict[str, Any] | None, str]:
        nonlocal best
        listed = read_remote_list(kaggle, reference, version, push=push)
        best = listed or best
        if listed is None or listed["code"] is None:
            return None, "not listed" if listed is None else "listed, but not by its command's end"
        return listed, ""

    hint = f"the output stays there: `imettk kaggle pull {reference}/{version} --out DIR`"
    finished = wait_until(kaggle, f"output of {reference}", look, limit_seconds=limit_seconds, hint=hint)
    return finished or best


def pull(
    kaggle: Kaggle,
    reference: str,
    version: int,
    folder: Path,
    *,
    push: str = "",
    wanted: Callable[[str, int], bool] | None = None,
) -> dict[str, Any]:
    """Download a session's output, and verify every file by the list that the kernel wrote.

    Files that exist and match are kept, an interrupted download resumes where it stopped, and a file gets its name only
    when it is complete and verified. The files of a session that was ended before its command cannot be verified.

    Args:
        push: the push that must have made the output; "" accepts any.
        wanted: decides by name and bytes (0 if unknown) whether to download a file; None downloads all.

    Returns:
        The list, reduced to the wanted files.

    Raises:
        MismatchError: it is the output of another push.
        Unclear: a file could not be downloaded in all tries.
        PlatformError: a file is missing, or differs from the list after all tries.
    """
    urls, listed, files = _wanted_files(kaggle, reference, version, push, wanted)
    total = sum(file["size"] for file in files.values())
    with progress_bar(f"download {reference}", total=total or None, unit="B") as bar:
        for name, file in files.items():
            path, what = _inside(folder, name), f"{name} of {reference}"
            try:
                _pull_file(kaggle, urls[name], path, file["size"], file["sha256"], what)
            except (NotThere, Refused):  # an address expires after some hours: ask for a new one
                urls.update(list_files(kaggle, reference, version)[0])
                _pull_file(kaggle, urls[name], path, file["size"], file["sha256"], what)
            bar.update(path.stat().st_size)
    if wanted is None:
        write_json(folder / OUTPUT, listed)
    return listed | {"files": files}


def _wanted_files(
    kaggle: Kaggle, reference: str, version: int, push: str, wanted: Callable[[str, int], bool] | None
) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
    """Return the addresses of a session's files, its list, and the wanted files of that list; errors as in `pull`."""
    for failures in range(1, LATE_TRIES + 1):
        urls, _ = list_files(kaggle, reference, version)
        listed = _find_list(kaggle, urls, reference)
        if listed is not None and not (push and listed["push"] != push):
            files = {name: file for name, file in listed["files"].items() if not wanted or wanted(name, file["size"])}
            missing = sorted(set(files) - set(urls))
            if not missing:
                return urls, listed, files
        if failures < LATE_TRIES:
            kaggle.patience.wait(failures)
    if listed is None:
        raise PlatformError(f"{reference} version {version} left no {OUTPUT}: its command did not finish")
    if push and listed["push"] != push:
        raise MismatchError(
            f"the output of {reference} belongs to another push ({listed['push'] or 'by hand'}, not {push}): not taken"
        )
    raise PlatformError(f"the output of {reference} lacks {missing[0]} ({len(missing)} files); try again later")


def _inside(folder: Path, name: str) -> Path:
    """Return the path for a file of an output, whose name must not lead out of the folder."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
        raise PlatformError(f"the output has a file {name!r}, which would lie outside {folder}: nothing is downloaded")
    return folder.joinpath(*parts)


def _pull_file(kaggle: Kaggle, url: str, path: Path, size: int, digest: str, what: str) -> None:
    """Download one file until it matches the list; without a digest, download it once, from the beginning."""
    if digest and path.is_file() and path.stat().st_size == size and sha256(path) == digest:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PARTIAL)
    if not digest:  # nothing proves that an earlier part belongs to this file
        part.unlink(missing_ok=True)
        _fetch(kaggle, url, part, 0, what)
        part.replace(path)
        return
    for failures in range(1, kaggle.patience.tries + 1):
        if not part.is_file() or part.stat().st_size < size:
            _fetch(kaggle, url, part, size, what)
        received = part.stat().st_size
        if received == size and sha256(part) == digest:
            part.replace(path)
            return
        if received >= size:
            part.unlink()  # complete and wrong: no part of it can be trusted
        if failures < kaggle.patience.tries:
            kaggle.patience.wait(failures)
    raise PlatformError(
        f"{what} differs from what the kernel wrote ({received:,} bytes of {size:,}) after {failures} downloads; "
        "try again later"
    )


def _fetch(kaggle: Kaggle, url: str, part: Path, size: int, what: str) -> None:
    """Append the missing bytes to a file, resuming after broken connections."""

    def fetch() -> None:
        start = part.stat().st_size if part.is_file() else 0
        if 0 < size <= start:  # the connection broke after the last byte
            return
        with kaggle.get(url, start=start) as answer:
            answer.raise_for_status()
            resumes = start > 0 and answer.status_code == 206  # 200: the server ignored the range, and sends everything
            with name_fault(part), open(part, "ab" if resumes else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)

    kaggle.repeat(fetch, what=what)


def _find_list(kaggle: Kaggle, urls: dict[str, str], reference: str) -> dict[str, Any] | None:
    """Return the list among a session's files, or None; for an unfinished command, with the names that exist there."""
    if OUTPUT not in urls:
        return None
    listed = _get_list(kaggle, urls[OUTPUT], f"{OUTPUT} of {reference}")
    if listed["code"] is None:
        unknown = {name: {"size": 0, "sha256": ""} for name in urls if name != OUTPUT}
        listed["files"] = unknown | listed["files"]
    return listed


def _get_list(kaggle: Kaggle, url: str, what: str) -> dict[str, Any]:
    """Download an `imettk-output.json` and check its shape."""

    def fetch() -> Any:
        with kaggle.get(url) as answer:
            answer.raise_for_status()
            content = answer.content
        try:
            return json.loads(content)
        except ValueError:  # a web page in its place, or a part of it
            raise Unclear(f"{what}: the platform sent something else") from None

    listed = kaggle.repeat(fetch, what=what)
    if not isinstance(listed, dict):
        raise PlatformError(f"{what} is damaged: it is not a list of files")
    listed = {"push": "", "code": None, "seconds": 0.0, "lacks": [], **listed}
    if faulty := [name for name, fits in _SHAPE.items() if not fits(listed.get(name))]:
        raise PlatformError(f"{what} is damaged: {', '.join(faulty)}")
    return listed


def _is_whole(value: Any) -> bool:
    """Return whether a value is a whole number of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# A check for each part of a list: a command may have written another file in its place.
_SHAPE: dict[str, Callable[[Any], bool]] = {
    "push": lambda push: isinstance(push, str),
    "code": lambda code: code is None or (isinstance(code, int) and not isinstance(code, bool)),
    "seconds": lambda seconds: isinstance(seconds, int | float) and 0 <= seconds < math.inf,
    "lacks": lambda lacks: isinstance(lacks, list) and all(isinstance(push, str) for push in lacks),
    "files": lambda files: (
        isinstance(files, dict)
        and all(
            isinstance(file, dict) and _is_whole(file.get("size")) and isinstance(file.get("sha256"), str)
            for file in files.values()
        )
    ),
}
