"""What pages of documentation have in common: blocks with a mark, commands that must be understood, quoted messages."""

from __future__ import annotations

import re
import shlex

from places import PROJECT

from imettk.cli.options import STAGES, make_parser, split_overrides
from imettk.config.overrides import apply_overrides
from imettk.recipes import load_recipe

PLACEHOLDERS = {
    "RECIPE": "digits", "STAGE": "train", "BACKBONE": "timm:test_resnet", "OWNER/SLUG": "me/one", "RUN": "abcdef",
    "NUMBER": "1",
}  # fmt: skip


def block(text: str, mark: str) -> str:
    """The fenced block after a `<!-- test: mark -->` line."""
    found = re.search(rf"<!-- test: {re.escape(mark)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found is not None, mark
    return found[1]


def commands_in_blocks(text: str) -> list[str]:
    """Every `imettk` command that a line in a block of code begins with, without what stands beside it."""
    lines = [line for part in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL) for line in part.splitlines()]
    of_ours = [re.split(r" {2,}| # ", line)[0] for line in lines if line.startswith("imettk ")]
    return [re.sub(r" (one stage|the same) .*", "", line) for line in of_ours]


def commands_in_words(text: str) -> list[str]:
    """Every `imettk` command between backticks, and those that follow `&&`, in text and in blocks."""
    return [*re.findall(r"`(imettk [^`]+)`", text), *re.findall(r"&& (imettk .*?)(?: >|$)", text, re.MULTILINE)]


def understand(line: str) -> None:
    """Parse a command with its fields as the command line does; whatever that raises is a fault of the page."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line)[1:]]
    parser = make_parser()
    if words[0] in STAGES:
        own, overrides = split_overrides(words)
        parser.parse_args(own)
    else:
        arguments, overrides = parser.parse_known_args(words)
        assert not overrides or arguments.passes_on
    apply_overrides(load_recipe("digits"), overrides)


def check_messages(table: str) -> int:
    """Find each message of a table's first column in the code as it is; how many rows there are."""
    code = "".join(path.read_text() for folder in ("imettk", "kernels") for path in (PROJECT / folder).rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", code)  # a string may go on in the next line
    rows = [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table.splitlines() if row.startswith("| `")]
    for message in (message for row in rows for message in row):
        assert message.removeprefix("... ") in joined, message
    return len(rows)
