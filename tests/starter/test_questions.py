"""Each question starts with a valid recipe, and adding a row adds a question."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from imettk.cli.main import main
from imettk.config import Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.recipes import load_recipe
from imettk.starter.questions import QUESTIONS, Question
from imettk.tasks import TASKS


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_the_settings_of_a_question_fit_together(question):
    columns = ("a", "b") if TASKS[question.task].asks_columns or TASKS[question.task].votes else ()
    recipe = Recipe(
        table=TableFormat(task=question.task, label_columns=columns),
        train=TrainConfig(loss=question.loss),
        rule=question.rule,
        model=question.model,
        metric=question.embedding,
    )
    for kind in question.rules:
        replace(recipe, rule=RuleConfig(kind=kind))  # raises `ConfigError` if a rule does not fit the table
    assert question.rule.kind in question.rules


def test_a_rule_is_kept_if_it_answers_the_question():
    grouped, share = (
        RuleConfig(kind="group_thresholds", beta=2.0, max_labels=10),
        RuleConfig(kind="share", average="macro"),
    )
    labels = QUESTIONS["multilabel"]
    assert labels.fit_rule(grouped, label_groups=True) == grouped
    assert labels.fit_rule(grouped, label_groups=False) == RuleConfig(kind="threshold", beta=2.0, max_labels=10)
    assert labels.fit_rule(share, label_groups=False) == share
    assert QUESTIONS["multiclass"].fit_rule(RuleConfig(kind="rank"), label_groups=False) == RuleConfig(kind="argmax")
    assert QUESTIONS["retrieval"].fit_rule(RuleConfig(kind="argmax"), label_groups=False) == RuleConfig(kind="rank")


def recognise_ages(evidence):
    return "all labels are numbers" if all(label.isdigit() for label in evidence.counts) else None


AGES = Question(
    name="ages",
    task="multiclass",
    recognise=recognise_ages,
    row_holds="one label",
    kind_of_labels="ages",
    without_label="nobody knows how old it is",
    rare_rows=3,
    rare="of {total} ages {number} are rare: {named}",
    loss="cross_entropy",
    rule=RuleConfig(kind="argmax", beta=3.0),
    rules=("argmax",),
    comments={"rule": ("Are all mistakes equally bad?",)},
)


@pytest.fixture
def asks_ages():
    """Add a row for ages before all others."""
    others = dict(QUESTIONS)
    QUESTIONS.clear()
    QUESTIONS.update({"ages": AGES, **others})
    yield
    QUESTIONS.clear()
    QUESTIONS.update(others)


@pytest.fixture
def trees(tmp_path, monkeypatch):
    """Write 12 images of trees with their ages; 30 is rare, and the last tree has no age."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "train").mkdir(parents=True)
    ages = ["10"] * 4 + ["20"] * 4 + ["30"] * 3 + [""]
    for number in range(len(ages)):
        cv2.imwrite(f"data/train/t{number:02d}.png", np.full((32, 32, 3), number, np.uint8))
    (tmp_path / "data" / "train.csv").write_text(
        "id,kind\n" + "".join(f"t{number:02d},{age}\n" for number, age in enumerate(ages))
    )


@pytest.mark.parametrize("words", [[], ["--task", "ages"]])
def test_adding_a_row_adds_a_question(asks_ages, trees, tmp_path, capsys, words):
    main(["new", "trees", "--data", "data", *words])
    text = capsys.readouterr().out
    assert f"ages: {'as requested' if words else 'all labels are numbers'}  [--task]" in text
    assert "1 row (t11) without a label: nobody knows how old it is" in text
    assert "of 3 ages 1 are rare: 1 label ('30': 3)" in text
    recipe, source = load_recipe("trees.py"), (tmp_path / "trees.py").read_text()
    assert (recipe.train.loss, recipe.rule) == ("cross_entropy", RuleConfig(kind="argmax", beta=3.0))
    assert "12 rows, 3 ages; started by" in source and "# Are all mistakes equally bad?\n" in source
    main(["new", "more", "--data", "data", "--like", "turtle2022", *words])
    assert load_recipe("more.py").rule == AGES.rule


def test_without_that_row_ages_are_classes(trees, capsys):
    main(["new", "trees", "--data", "data"])
    assert "multiclass: one label per row" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["new", "more", "--data", "data", "--task", "ages"])
    assert "invalid choice: 'ages' (choose from" in capsys.readouterr().err
