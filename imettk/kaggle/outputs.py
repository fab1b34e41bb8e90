"""What a session leaves: a list with hashes, written in the kernel, and the download that is held against it."""

from __future__ import annotations

import contextlib
import json
import math
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
LATE_TRIES = 3  # until a list without its files, or the list of another push, is what there is
LISTED_SECONDS = 900.0  # after the end of a session, until its output must be listed
_PAGE = 100
_CHUNK = 1 << 20


def write_output_list(
    folder: Path, *, push: str, stage: str, code: int | None, seconds: float, lacks: Sequence[str] = ()
) -> None:
    """Write `imettk-output.json`: which push made this output, how its stage ended, size and SHA-256 of every file.

    Args:
        code: of the stage; None where it has not ended: the list then names no files.
        seconds: since the kernel's first line.
        lacks: the pushes whose outputs were to be taken up and are not there.
    """
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in (sorted(folder.rglob("*")) if code is not None else [])
        if path.is_file() and path.name != OUTPUT
    }
    content: dict[str, Any] = {"push": push, "stage": stage, "code": code, "seconds": round(seconds, 1)}
    write_json(folder / OUTPUT, content | ({"lacks": list(lacks)} if lacks else {}) | {"files": files})


def read_output_list(folder: Path) -> dict[str, Any] | None:
    """The list of an output folder, or None where it has none."""
    try:
        content = json.loads((folder / OUTPUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def list_files(kaggle: Kaggle, reference: str, version: int) -> tuple[dict[str, str], str]:
    """Names and addresses of a session's output files, and the end of its log as plain text."""
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
    """The last lines of a session's log, or one that says why it cannot be had."""
    try:
        _, log = list_files(kaggle, reference, version)
    except (PlatformError, UserError) as error:
        log = f"(no log: {error})"
    return log.rstrip().splitlines()[-num_lines:]


def plain_log(log: str) -> str:
    """A session's log as text, of a bar that is redrawn the last state; the platform gives a JSON list of pieces."""
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        log = "".join(str(piece.get("data") or "") for piece in json.loads(log))
    return "\n".join(map(last_state, log.split("\n")))


def last_state(line: str) -> str:
    """A line of a log as it was last drawn: a bar goes back to its start again and again."""
    return line.rstrip("\r").rpartition("\r")[2]


def read_remote_list(kaggle: Kaggle, reference: str, version: int, *, push: str = "") -> dict[str, Any] | None:
    """The `imettk-output.json` of a session, or None where the platform does not list one (yet).

    Its "code" is None where the session was ended before its stage: its files are then those that the platform lists,
    with size 0 and the SHA-256 "", since nobody has written them down.

    Args:
        push: whose list it must be, any other is out of date and None; "" takes any.
    """
    urls, _ = list_files(kaggle, reference, version)
    listed = _find_list(kaggle, urls, reference)
    return None if listed is None or (push and listed["push"] != push) else listed


def wait_listed(
    kaggle: Kaggle, reference: str, version: int, *, push: str = "", limit_seconds: float = LISTED_SECONDS
) -> dict[str, Any] | None:
    """The list of a session that has ended, as `read_remote_list` gives it, waited for where it is late or out of date.

    None, or the list of a stage that was ended, where there is no better one within the limit.
    """
    best: dict[str, Any] | None = None

    def look() -> tuple[dict[str, Any] | None, str]:
        nonlocal best
        listed = read_remote_list(kaggle, reference, version, push=push)
        best = listed or best
        if listed is None or listed["code"] is None:
            return None, "not listed" if listed is None else "listed, but not by its stage's end"
        return listed, ""

    hint = f"the output stays there: `imettk kaggle pull {reference}/{version} --out DIR`"
    found = wait_until(kaggle, f"output of {reference}", look, limit_seconds=limit_seconds, hint=hint)
    return found or best


def pull(
    kaggle: Kaggle,
    reference: str,
    version: int,
    folder: Path,
    *,
    push: str = "",
    wanted: Callable[[str, int], bool] | None = None,
) -> dict[str, Any]:
    """Download a session's output; every file is held against the list that the kernel wrote.

    Returns that list, with the files that were wanted. Those of a session that was ended before its stage are taken as
    the platform gives them.

    Files that are there already and fit are kept, a file that broke off goes on where it stopped, and a name gets its
    content only when that is whole and right.

    Args:
        push: whose output it must be; "" takes any.
        wanted: says of a name and its bytes (0 where nobody knows) whether to download it; None is all.

    Raises:
        MismatchError: it is the output of another push.
        Unclear: a file could not be had in all tries.
        PlatformError: a file is missing, or is not what the list says after all tries.
    """
    urls, listed, files = _wanted_files(kaggle, reference, version, push, wanted)
    total = sum(file["size"] for file in files.values())
    with progress_bar(f"download {reference}", total=total or None, unit="B") as bar:
        for name, file in files.items():
            path, what = _inside(folder, name), f"{name} of {reference}"
            try:
                _pull_file(kaggle, urls[name], path, file["size"], file["sha256"], what)
            except (NotThere, Refused):  # an address is good for some hours only
                urls.update(list_files(kaggle, reference, version)[0])
                _pull_file(kaggle, urls[name], path, file["size"], file["sha256"], what)
            bar.update(path.stat().st_size)
    if wanted is None:
        write_json(folder / OUTPUT, listed)
    return listed | {"files": files}


def _wanted_files(
    kaggle: Kaggle, reference: str, version: int, push: str, wanted: Callable[[str, int], bool] | None
) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
    """Addresses of a session's files, its list, and of that list what is wanted; errors as in `pull`."""
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
        raise PlatformError(f"{reference} version {version} left no {OUTPUT}: its stage has not come to an end")
    if push and listed["push"] != push:
        raise MismatchError(
            f"the output of {reference} is of another push ({listed['push'] or 'by hand'}, not {push}): not taken"
        )
    raise PlatformError(f"the output of {reference} lacks {missing[0]} ({len(missing)} files); try again later")


def _inside(folder: Path, name: str) -> Path:
    """Where a file of this name goes; never outside the folder, whatever an output calls itself."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
        raise PlatformError(f"the output has a file {name!r}, which would lie outside {folder}: nothing is taken")
    return folder.joinpath(*parts)


def _pull_file(kaggle: Kaggle, url: str, path: Path, size: int, digest: str, what: str) -> None:
    """Download one file until it is what the list says; without a digest anew, as the platform gives it."""
    if digest and path.is_file() and path.stat().st_size == size and sha256(path) == digest:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + PARTIAL)
    if not digest:  # what is there of it proves nothing
        part.unlink(missing_ok=True)
        _fetch(kaggle, url, part, 0, what)
        part.replace(path)
        return
    for failures in range(1, kaggle.patience.tries + 1):
        if not part.is_file() or part.stat().st_size < size:
            _fetch(kaggle, url, part, size, what)
        held = part.stat().st_size
        if held == size and sha256(part) == digest:
            part.replace(path)
            return
        if held >= size:
            part.unlink()  # whole and wrong: nothing of it can be kept
        if failures < kaggle.patience.tries:
            kaggle.patience.wait(failures)
    raise PlatformError(
        f"{what} is not what the kernel wrote ({held:,} bytes of {size:,}), {failures} times; try again later"
    )


def _fetch(kaggle: Kaggle, url: str, part: Path, size: int, what: str) -> None:
    """Append to a file what it lacks; where the connection breaks it goes on there."""

    def fetch() -> None:
        start = part.stat().st_size if part.is_file() else 0
        if 0 < size <= start:  # it broke after the last byte
            return
        with kaggle.get(url, start=start) as answer:
            answer.raise_for_status()
            going_on = start > 0 and answer.status_code == 206
            with name_fault(part), open(part, "ab" if going_on else "wb") as file:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)

    kaggle.repeat(fetch, what=what)


def _find_list(kaggle: Kaggle, urls: dict[str, str], reference: str) -> dict[str, Any] | None:
    """The list among a session's files; of a stage that was ended it gets the names that the platform lists."""
    if OUTPUT not in urls:
        return None
    listed = _get_list(kaggle, urls[OUTPUT], f"{OUTPUT} of {reference}")
    if listed["code"] is None:
        unknown = {name: {"size": 0, "sha256": ""} for name in urls if name != OUTPUT}
        listed["files"] = unknown | listed["files"]
    return listed


def _get_list(kaggle: Kaggle, url: str, what: str) -> dict[str, Any]:
    """What an `imettk-output.json` holds."""

    def fetch() -> Any:
        with kaggle.get(url) as answer:
            answer.raise_for_status()
            content = answer.content
        try:
            return json.loads(content)
        except ValueError:  # a page of the platform in its place, or a part of it
            raise Unclear(f"{what}: the platform gave something else") from None

    listed = kaggle.repeat(fetch, what=what)
    if not isinstance(listed, dict):
        raise PlatformError(f"{what} is damaged: it is no list of files")
    listed = {"push": "", "code": None, "seconds": 0.0, "lacks": [], **listed}
    if faulty := [name for name, fits in _SHAPE.items() if not fits(listed.get(name))]:
        raise PlatformError(f"{what} is damaged: {', '.join(faulty)}")
    return listed


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# What each part of a list must be: a stage may have written another file in its place.
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
