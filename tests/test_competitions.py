"""Competitions of ten layouts: `new` understands each, and graders accept valid submissions only."""

import sys

import numpy as np
import pandas as pd
import pytest
from places import PROJECT
from sklearn.metrics import log_loss

sys.path.append(str(PROJECT / "tools" / "bench"))
import competitions
from layouts import LAYOUTS, NUM_TRAIN, Folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Make every competition, by name; they are only read."""
    top = tmp_path_factory.mktemp("layouts")
    return {name: Folder(top / name, name, 0) for name in LAYOUTS}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_understood(name, folders, tmp_path, monkeypatch):
    """`new` gets only the metric, and `prepare` accepts its recipe."""
    monkeypatch.chdir(tmp_path)
    data, metric = folders[name].data, LAYOUTS[name].metric
    assert competitions.command("new", "entry", "--data", data, "--metric", metric)[0] == 0
    code, last = competitions.command("prepare", "entry.py", "--data", data, "--run-dir", "run")
    assert code == 0, last


def test_a_competition_is_entered_from_start_to_end(tmp_path):
    """Two epochs are too few for a good score, but everything else must work."""
    entry = competitions.enter("mushrooms", tmp_path, epochs=2, seed=0)
    assert entry.reached in ("entered", "too weak"), entry
    assert entry.metric == "log_loss" and np.isfinite(entry.score)


def test_a_seed_makes_the_same_files(tmp_path):
    contents = []
    for place in ("one", "two"):
        Folder(tmp_path / place, "toys", 3)
        paths = sorted(path for path in (tmp_path / place).rglob("*") if path.is_file())
        contents.append([(path.name, path.read_bytes()) for path in paths])
    assert contents[0] == contents[1] and len(contents[0]) == NUM_TRAIN + 40 + 2


def answers_of(folder):
    """Return a submission in which every answer is right."""
    layout, right = folder.layout, folder.held[NUM_TRAIN:]
    columns = list(folder.sample.columns[1:])
    submission = folder.sample.astype({column: object for column in columns})
    for row, held in enumerate(right):
        names = [name for name, has in zip(layout.names, held, strict=True) if has]
        if layout.cells in ("probability", "flag"):
            submission.loc[row, columns] = [int(column in names) for column in columns]
        else:
            submission.loc[row, columns] = str(names) if layout.cells == "list" else names[0]
    return submission


@pytest.mark.parametrize("name", LAYOUTS)
def test_right_answers_have_the_best_score_and_pixels_are_better_than_the_sample(name, folders, tmp_path):
    folder = folders[name]
    answers_of(folder).sample(frac=1, random_state=0).to_csv(tmp_path / "submission.csv", index=False)
    (tmp_path / "scores.json").write_text(f'{{"metric": "{folder.layout.metric}"}}')
    entry = competitions.judge(folder, tmp_path, 0.0)
    assert entry.reached == "entered"
    lower = folder.layout.metric in competitions.LOWER_IS_BETTER
    assert entry.score == pytest.approx(0 if lower else 1, abs=1e-9)
    gain = (entry.sample - entry.pixels) if lower else (entry.pixels - entry.sample)
    assert gain > 0.3
    folder.sample.to_csv(tmp_path / "submission.csv", index=False)
    assert competitions.judge(folder, tmp_path, 0.0).reached in ("too weak", "refused by the grader")
    (tmp_path / "scores.json").write_text('{"metric": "accuracies"}')
    answers_of(folder).to_csv(tmp_path / "submission.csv", index=False)
    assert competitions.judge(folder, tmp_path, 0.0).reached == "another metric"


def more_columns(frame):
    return frame.assign(other=1)


def another_id(frame):
    return frame.replace({frame.columns[0]: {frame.iloc[0, 0]: "nobody"}})


def an_id_twice(frame):
    return pd.concat([frame, frame[:1]])


def first_cell(cell):
    def changed(frame):
        frame.iloc[0, 1] = cell
        return frame

    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("bottles", more_columns, "columns file, material, other in place of file, material"),
        ("bottles", another_id, "ids are not those of the sample"),
        ("bottles", an_id_twice, "ids are not those of the sample"),
        ("bottles", first_cell("wood"), "is not of clay, glass, tin"),
        ("biopsies", first_cell(1.5), "1.5 is no probability"),
        ("biopsies", first_cell("benign"), "Unable to parse"),
        ("biopsies", first_cell(""), "nan is no probability"),
        ("roofs", first_cell(0.5), "0.5 is no flag"),
        ("mushrooms", first_cell(0.9), "probabilities of a row sum to 1.9"),
        ("toys", first_cell("['ball', 'ball']"), "is not of ball, kite, drum"),
        ("toys", first_cell("ball kite"), "invalid syntax"),
    ],
)
def test_a_grader_refuses(name, change, message, folders, tmp_path):
    submission = answers_of(folders[name])
    if name == "mushrooms":
        submission = submission.assign(morel=0.0, agaric=1.0, bolete=0.0)
    change(submission).to_csv(tmp_path / "submission.csv", index=False)
    (tmp_path / "scores.json").write_text("{}")
    entry = competitions.judge(folders[name], tmp_path, 0.0)
    assert entry.reached == "refused by the grader" and message in entry.why


def test_log_loss_is_scikit_learns():
    rng = np.random.default_rng(0)
    for _ in range(50):
        probs = rng.dirichlet(np.ones(4), 30)
        truth = np.eye(4, dtype=bool)[rng.integers(0, 4, 30)]
        expected = log_loss(truth.argmax(1), probs, labels=range(4))
        assert competitions.GRADERS["log_loss"](truth, probs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("reached", "check", "code"), [("entered", ["--check"], 0), ("too weak", ["--check"], 1), ("too weak", [], 0)]
)
def test_the_table_counts_entered_competitions(reached, check, code, monkeypatch, capsys):
    """`--check` fails if one is not entered."""

    def enter(name, work, *, epochs, seed):
        assert (epochs, seed) == (1, 5) and work.is_dir()
        return competitions.Entry(name, reached if name == "toys" else "entered", 1.0)

    monkeypatch.setattr(competitions, "enter", enter)
    monkeypatch.setattr(sys, "argv", ["competitions", "--quick", *check, "--seed", "5", "--only", "tiles", "toys"])
    with pytest.raises(SystemExit) as ending:
        competitions.main()
    assert ending.value.code == code and f"{1 + (reached == 'entered')} of 2 entered" in capsys.readouterr().out
