"""Images nested by the first letters of their ids: CPU seconds to list them and to look each up by id.

`python tools/bench/listing.py [--check] [--quick]`; makes 200,000 empty files (`--quick`: 4,000) in a temporary folder.
Beside ours stand the plain ways, `os.walk` and `pathlib.rglob` into a dict by the file's stem, without a look at other
endings, names in two folders or ids without a file; and ours again, with the listing of before.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from table import Row, arguments_of, finish, print_machine

LETTERS = 3  # folders one in another
MOST_SECONDS = 2.0
MOST_NAMING_SECONDS = 20.0


def names_of(number: int) -> list[str]:
    """Return ids of hexadecimal digits."""
    return [hashlib.md5(str(place).encode()).hexdigest()[:16] for place in range(number)]


def make(folder: Path, names: list[str]) -> None:
    """Write an empty file for each id."""
    for name in names:
        path = folder.joinpath(*name[:LETTERS], f"{name}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ours(folder: Path, names: list[str]) -> tuple[float, ...]:
    """Return the seconds of `read_table`'s search, and of a second one in the same process."""
    import pandas as pd

    from imettk.config import TableFormat
    from imettk.data.image_search import find_images

    ids, form, seconds = pd.Series(names, dtype=str), TableFormat(image_suffix=".jpg"), []
    for _ in range(2):
        started = time.process_time()
        files = find_images(ids, folder / "train.csv", folder, folder.parent, form, [], unshared=True)
        seconds.append(time.process_time() - started)
        assert all(file == f"{'/'.join(name[:LETTERS])}/{name}.jpg" for name, file in zip(names, files, strict=True))
    return tuple(seconds)


def new(folder: Path, names: list[str]) -> tuple[float, ...]:
    """Return the seconds in which `imettk new` matches ids to files, and those of its whole guess."""
    import pandas as pd

    from imettk.starter.guess import guess
    from imettk.starter.guess_columns import Choices
    from imettk.starter.look import look_into
    from imettk.starter.naming import match_names

    rows = "".join(f"{name},{'ab'[int(name, 16) % 2]}\n" for name in names)
    (folder.parent / "train.csv").write_text(f"id,label\n{rows}")
    contents, seconds = look_into(folder.parent), []
    for call in (
        lambda: match_names(pd.Series(names, dtype=str), contents)[0],
        lambda: guess(contents, folder.parent, Choices()),
    ):
        started = time.process_time()
        assert call().found.all()
        seconds.append(time.process_time() - started)
    return tuple(seconds)


def walk(folder: Path, names: list[str]) -> tuple[float, ...]:
    """Return the seconds of `os.walk` and a dict."""
    started = time.process_time()
    found = {file.partition(".")[0]: f"{way}/{file}" for way, _, files in os.walk(folder) for file in files}
    paths = [found[name] for name in names]
    assert len(paths) == len(found)
    return (time.process_time() - started,)


def rglob(folder: Path, names: list[str]) -> tuple[float, ...]:
    """Return the seconds of `pathlib` and a dict."""
    started = time.process_time()
    found = {path.stem: path for path in folder.rglob("*.jpg")}
    paths = [found[name] for name in names]
    assert len(paths) == len(found)
    return (time.process_time() - started,)


def main() -> None:
    arguments = arguments_of(__doc__).parse_args()
    number, rounds = (4_000, 1) if arguments.quick else (200_000, 5)
    print_machine("numpy", "pandas")
    print(f"{number:,} ids and images, nested by {LETTERS} letters; CPU seconds of a fresh process\n")
    names = names_of(number)
    ways: dict[str, Callable[[Path, list[str]], tuple[float, ...]]] = {
        "ours": ours,
        "new": new,
        "walk": walk,
        "rglob": rglob,
    }
    seconds: dict[str, list[tuple[float, ...]]] = {way: [] for way in ways}
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        top = Path(folder, "train")
        make(top, names)
        for _ in range(rounds):
            for way, measure in ways.items():
                seconds[way].append(pool.apply(measure, (top, names)))
    first, again = zip(*seconds["ours"], strict=True)
    naming, guessing = zip(*seconds["new"], strict=True)
    rows = [
        Row("imettk", first, "s", (), MOST_SECONDS),
        Row("  once more in the same process", again, "s"),
        Row("imettk new: how ids name files", naming, "s", (), MOST_NAMING_SECONDS),
        Row("  its whole guess", guessing, "s"),
        Row("  os.walk and a dict", [value for (value,) in seconds["walk"]], "s"),
        Row("  pathlib.rglob and a dict", [value for (value,) in seconds["rglob"]], "s"),
    ]
    finish(rows, arguments)


if __name__ == "__main__":
    main()
