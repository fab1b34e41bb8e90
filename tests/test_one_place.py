"""Only `tasks/` and `config/` ask for a recipe's task, loss or rule; other modules are given what they need."""

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "imettk"
ALLOWED = ("tasks", "config")
ASKS = {
    "which task it is": r"task [!=]=|task in \(|\.task\.name\b",
    "how many dimensions targets have": r"(targets|answers|truth)\w*\.ndim|np\.ndim\((targets|answers|truth)",
    "which rule it is": r"rule\.kind|\.kind [!=]= \"(rank|argmax|share|threshold|top)\"",
    "which loss it is": r"train\.loss [!=]=|loss (==|!=|in) [\"(]",
    "which task an object is": r"isinstance\([^)]*\b(Multilabel|Multiclass|RankingJudge|RuleJudge)\b",
    "a name of a task": r"[\"'](multilabel|multiclass)[\"']",
}
# Here a task's name is typed by a user, or is part of a recipe or of the starter's questions.
NAMED_IN = ("recipes/", "starter/", "synthetic/")


def lines() -> list[tuple[str, int, str]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] not in ALLOWED:
            found += [(str(place), number, line) for number, line in enumerate(path.read_text().splitlines(), start=1)]
    return found


@pytest.mark.parametrize("question", ASKS)
def test_nobody_else_asks(question):
    asking = [
        f"{place}:{number}: {line.strip()}"
        for place, number, line in lines()
        if re.search(ASKS[question], line.partition("#")[0])
        and not (question == "a name of a task" and place.startswith(NAMED_IN))
    ]
    assert not asking, f"{question}: ask recipe.task, recipe.rule_row or judge_of(recipe) instead\n" + "\n".join(asking)
