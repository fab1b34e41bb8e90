"""Style that a program can check: first words of docstrings, loop variables, lengths of files, parameters."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from places import PROJECT

# PEP 257: a verb ("Return ...") or a noun phrase. A docstring that begins with one of these is a subordinate clause.
NEVER_FIRST = re.compile(r"(What|How|Whether|Which|Of|Where|Who|Why)\b")
# A loop variable is named for the thing that it goes over.
NEVER_NAMES = {"one", "each", "some", "found", "own", "said"}
MOST_LINES = 350
MOST_POSITIONAL = 6  # without `self` or `cls`

DOCSTRINGS_IN = ("imettk", "kernels", "tools", "tests", "examples")
NAMES_IN = ("imettk",)
LINES_IN = ("imettk", "kernels", "tools", "tests")
PARAMETERS_IN = ("imettk", "kernels", "tools")
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Violation(NamedTuple):
    """A place that breaks a rule."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(PROJECT)}:{self.line}: {self.text}"


def modules(folders: tuple[str, ...]) -> list[Path]:
    """List the Python files below these folders of the project."""
    return sorted(path for folder in folders for path in (PROJECT / folder).rglob("*.py"))


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def clause_docstrings() -> Iterator[Violation]:
    """Find docstrings that begin with a question word or "Of"."""
    for path in modules(DOCSTRINGS_IN):
        for node in nodes(path):
            if not isinstance(node, ast.Module | ast.ClassDef | Function):
                continue
            docstring = ast.get_docstring(node)
            if docstring and NEVER_FIRST.match(docstring):
                yield Violation(path, node.body[0].lineno, docstring.splitlines()[0])


def vague_names() -> Iterator[Violation]:
    """Find loop and comprehension variables with vague names."""
    for path in modules(NAMES_IN):
        for node in nodes(path):
            if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
                for target in ast.walk(node.target):
                    if isinstance(target, ast.Name) and target.id in NEVER_NAMES:
                        yield Violation(path, target.lineno, f"for {ast.unparse(node.target)} in ...")


def long_files() -> Iterator[Violation]:
    """Find files with too many lines."""
    for path in modules(LINES_IN):
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MOST_LINES:
            yield Violation(path, count, f"{count} lines, at most {MOST_LINES}")


def long_signatures() -> Iterator[Violation]:
    """Find functions with too many positional parameters."""
    for path in modules(PARAMETERS_IN):
        for node in nodes(path):
            if isinstance(node, Function):
                names = [parameter.arg for parameter in (*node.args.posonlyargs, *node.args.args)]
                count = len(names) - (names[:1] in (["self"], ["cls"]))
                if count > MOST_POSITIONAL:
                    yield Violation(path, node.lineno, f"{node.name} has {count} positional parameters")


RULES = {
    "a docstring begins with a verb or a noun phrase": clause_docstrings,
    "a loop's variable is named for the thing": vague_names,
    f"a file has at most {MOST_LINES} lines": long_files,
    f"a function has at most {MOST_POSITIONAL} positional parameters": long_signatures,
}


@pytest.mark.parametrize("rule", RULES)
def test_every_file_keeps_the_rule(rule):
    violations = list(map(str, RULES[rule]()))
    assert not violations, f"{rule}; {len(violations)} places do not:\n" + "\n".join(violations)
