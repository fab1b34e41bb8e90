"""Pages of documentation: marked blocks, commands that the command line must understand, links, quoted messages."""

from __future__ import annotations

import argparse
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import PROJECT

from imettk.cli.options import COMMANDS, make_parser, split_overrides
from imettk.config.overrides import apply_overrides
from imettk.recipes import load_recipe

PLACEHOLDERS = {
    "ACTION": "status", "BACKBONE": "timm:test_resnet", "COMMAND": "train", "NAME": "accuracy", "NUMBER": "1",
    "OWNER/SLUG": "me/one", "RECIPE": "digits", "RUN": "abcdef",
}  # fmt: skip
EXAMPLES = sorted((PROJECT / "examples").rglob("README.md"))
PATHS = sorted([PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md"), *EXAMPLES])
PAGES = {str(path.relative_to(PROJECT)): path.read_text(encoding="utf-8") for path in PATHS}
REQUIRED = "the following arguments are required: "
command_line = functools.cache(make_parser)  # which takes 0.05 s


def block(text: str, mark: str) -> str:
    """Return the fenced block after a `<!-- test: mark -->` line."""
    match = re.search(rf"<!-- test: {re.escape(mark)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert match is not None, mark
    return match[1]


def blocks(text: str, language: str = r"\w*") -> list[str]:
    """List the contents of all fenced blocks of a language, by default of any."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def without_blocks(text: str) -> str:
    """Return a page's text without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def commands_in_blocks(text: str) -> list[str]:
    """List the `imettk` commands that begin a line in a block, without the remarks beside them."""
    lines = [line for part in blocks(text) for line in part.splitlines()]
    whole = [match[0] for line in lines if (match := re.search(r"^imettk .*|(?<= -m )imettk .*", line))]
    return [re.split(r" {2,}| # ", line)[0] for line in whole]


def commands_in_words(text: str) -> list[str]:
    """List the `imettk` commands between backticks in the text, and those that follow `&&` in a block."""
    quoted = re.findall(r"`(imettk [^`\[]+)`", without_blocks(text))
    return [*(" ".join(line.split()) for line in quoted), *re.findall(r"&& (imettk .*?)(?: >|$)", text, re.MULTILINE)]


def understand(line: str) -> None:
    """Parse a command as the command line does; raise if it would be refused.

    A command between words may leave required arguments out: placeholders stand in for them.
    """
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line)[1:] if word not in ("--help", "--version")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "error", _refuse)
        while words:
            try:
                return _parse(words)
            except ValueError as error:
                if not str(error).startswith(REQUIRED):
                    raise AssertionError(f"{line}: {error}") from None
                words = _completed(words, str(error).removeprefix(REQUIRED).split(", "))


def _refuse(parser: argparse.ArgumentParser, message: str) -> None:
    raise ValueError(message)


def _completed(words: list[str], missing: list[str]) -> list[str]:
    """Return the words with values for missing arguments, positional ones before all options."""
    place = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    positional = [PLACEHOLDERS.get(name, "any") for name in missing if not name.startswith("-")]
    options = [word for name in missing if name.startswith("-") for word in (name, "any")]
    return [*words[:place], *positional, *words[place:], *options]


def _parse(words: list[str]) -> None:
    parser = command_line()
    if words[0] in COMMANDS:
        command, overrides = split_overrides(words)
        parser.parse_args(command)
    else:
        arguments, overrides = parser.parse_known_args(words)
        assert not overrides or arguments.takes_overrides, f"unknown: {overrides}"
    apply_overrides(load_recipe("digits"), overrides)


def known_options() -> set[str]:
    """Return every option of every command."""

    def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
        for action in parser._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for child in action.choices.values():
                    yield from options_of(child)

    return set(options_of(command_line()))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(text: str) -> list[str]:
    """List the targets of a page's links that lead into this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_blocks(text))
    return [target for target in targets if not target.startswith(("http:", "https:"))]


def follow(page: Path, target: str) -> str | None:
    """Return what is wrong with a link of a page, None if it leads to a file and a heading."""
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists() or not path.is_relative_to(PROJECT):
        return f"no file {name}"
    return f"no heading #{anchor}" if anchor and anchor not in anchors(path.read_text(encoding="utf-8")) else None


def check_messages(table: str) -> int:
    """Find each message of the first column of tables in the code; return the number of rows."""
    code = "".join(path.read_text() for folder in ("imettk", "kernels") for path in (PROJECT / folder).rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)  # a string may go on in the next line
    rows = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    for message in (message for row in rows for message in row):
        assert message.removeprefix("... ") in joined, message
    return len(rows)
