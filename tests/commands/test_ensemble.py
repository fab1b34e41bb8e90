"""`ensemble`: prediction files joined by id and blended; every number against a plain recomputation."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ensemble_members import (
    GROUPS,
    LABELS,
    NUM_FOLDS,
    ROWS,
    TEST_IDS,
    ids_of,
    make_member,
    open_ensemble,
    recipe_of,
    truth,
)
from scipy.stats import rankdata
from tiny import refused

from imettk.config import fingerprint, read_recipe
from imettk.evaluation.frames import oof_frame
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import interval_of
from imettk.postprocess.honest import cross_fit
from imettk.tracking.run_dir import RunDir

pytestmark = pytest.mark.usefixtures("no_charts_here")


@pytest.fixture
def out(tmp_path):
    return open_ensemble(tmp_path)


def weights_in(folder: Path) -> dict[str, float]:
    return json.loads((folder / "ensemble.json").read_text())["weights"]


def f2(chosen: np.ndarray, targets: np.ndarray) -> float:
    """Row by row, from the definition; a row where nothing is and nothing was chosen counts 0."""
    chosen, true = chosen.astype(bool), targets.astype(bool)
    both, either = (chosen & true).sum(1), chosen.sum(1) + 4 * true.sum(1)
    return float(np.mean([5 * hits / below if below else 0.0 for hits, below in zip(both, either, strict=True)]))


def best_f2(probs: np.ndarray, targets: np.ndarray) -> float:
    """With the best of all thresholds."""
    return max(f2(probs >= threshold, targets) for threshold in [*np.unique(probs), 2.0])


def in_order(known: dict[int, dict[str, np.ndarray]], ids: np.ndarray) -> np.ndarray:
    """The member's probabilities of these rows; nan where it has none."""
    own = {name: row for fold in known.values() for name, row in fold.items()}
    width = len(next(iter(own.values())))
    return np.stack([own.get(name, np.full(width, np.nan)) for name in ids.tolist()]).astype(np.float64)


def mean_of_folds(known: dict[int, dict[str, np.ndarray]], ids: np.ndarray) -> np.ndarray:
    return np.mean([in_order({fold: rows}, ids) for fold, rows in known.items()], axis=0)


def targets_of(ids: np.ndarray, task: str = "multilabel") -> np.ndarray:
    by_id = dict(zip(ids_of([0, 1, 2])[np.argsort(np.arange(ROWS))].tolist(), truth(task), strict=True))
    return np.stack([by_id[name] for name in ids.tolist()])


METHODS = {
    "mean": lambda parts, weights: np.average(parts, axis=0, weights=weights),
    "geometric": lambda parts, weights: np.exp(np.average(np.log(np.maximum(parts, 1e-7)), axis=0, weights=weights)),
    "max": lambda parts, weights: np.max(parts, axis=0),
    "rank": lambda parts, weights: np.average(parts, axis=0, weights=weights),
}


def ranks(known: dict[int, dict[str, np.ndarray]]) -> dict[int, dict[str, np.ndarray]]:
    """Ranks are taken within each file's probabilities."""
    result = {}
    for fold, rows in known.items():
        matrix = np.stack(list(rows.values()))
        shares = (rankdata(matrix).reshape(matrix.shape) - 0.5) / matrix.size
        result[fold] = dict(zip(rows, shares, strict=True))
    return result


@pytest.mark.parametrize("given", [None, (3, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_members_are_joined_by_id_and_blended(tmp_path, out, method, given):
    """The second member has its rows in another order, and two views, the larger of which counts."""
    known = [
        make_member(tmp_path / "one", seed=1),
        make_member(tmp_path / "two", seed=2, shuffled=True, views=2, merge="max"),
    ]
    out.make("one", "two", options=("--method", method, *(("--weights", *given) if given else ())))
    made = out.file("oof")
    assert made.ids.tolist() == sorted(ids_of([0, 1, 2]).tolist())
    np.testing.assert_array_equal(made.targets, targets_of(made.ids))
    prepared = [{kind: ranks(rows) if method == "rank" else rows for kind, rows in each.items()} for each in known]
    parts = [in_order(each["oof"], made.ids) for each in prepared]
    weights = given or (1, 1)
    np.testing.assert_allclose(made.merged, METHODS[method](parts, weights), rtol=1e-4, atol=1e-6)
    folds = dict(zip(ids_of([0, 1, 2]), np.arange(ROWS) % NUM_FOLDS, strict=True))
    assert oof_frame(recipe_of(), RunDir(out.folder))["fold"].tolist() == [folds[name] for name in made.ids]
    assert made.values["labels"] == list(LABELS) and made.values["label_groups"] == list(GROUPS)
    made = out.file("test")
    assert made.targets is None and made.ids.tolist() == sorted(TEST_IDS.tolist())
    parts = [mean_of_folds(each["test"], made.ids) for each in prepared]
    np.testing.assert_allclose(made.merged, METHODS[method](parts, weights), rtol=1e-4, atol=1e-6)
    total = sum(weights)
    assert weights_in(out.folder) == pytest.approx({"one": weights[0] / total, "two": weights[1] / total})


@pytest.mark.parametrize("method", METHODS)
def test_each_row_is_blended_of_the_members_that_know_it(tmp_path, out, method):
    known = [
        make_member(tmp_path / "one", seed=1, folds=(0, 1), test=False),
        make_member(tmp_path / "two", seed=2, folds=(1, 2), shuffled=True, test=False),
    ]
    out.make("one", "two", options=("--method", method, "--weights", 2, 1))
    made = out.file("oof")
    first, second = (in_order(ranks(each["oof"]) if method == "rank" else each["oof"], made.ids) for each in known)
    only_first, only_second = np.isnan(second[:, 0]), np.isnan(first[:, 0])
    both = ~only_first & ~only_second
    assert (only_first.sum(), both.sum(), only_second.sum()) == (20, 20, 20)
    np.testing.assert_allclose(made.merged[only_first], first[only_first], rtol=1e-5)
    np.testing.assert_allclose(made.merged[only_second], second[only_second], rtol=1e-5)
    np.testing.assert_allclose(made.merged[both], METHODS[method]([first[both], second[both]], (2, 1)), rtol=1e-4)


def test_a_member_without_weight_speaks_only_where_no_other_does(tmp_path, out):
    known = [
        make_member(tmp_path / "one", seed=1, folds=(0, 1), test=False),
        make_member(tmp_path / "two", seed=2, folds=(1, 2), test=False),
    ]
    out.make("one", "two", options=("--weights", 1, 0))
    made = out.file("oof")
    first, second = (in_order(each["oof"], made.ids) for each in known)
    np.testing.assert_allclose(made.merged, np.where(np.isnan(first), second, first), rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_member_with_more_folds_counts_more_for_the_test_set(tmp_path, out, method):
    known = [
        make_member(tmp_path / "one", seed=1, folds=(0,)),
        make_member(tmp_path / "two", seed=2, shuffled=True, views=2),
    ]
    out.make("one", "two", options=("--method", method, "--weights", 2, 1))
    made = out.file("test")
    tests = [ranks(each["test"]) if method == "rank" else each["test"] for each in known]
    parts = [mean_of_folds(each, made.ids) for each in tests]
    np.testing.assert_allclose(made.merged, METHODS[method](parts, (2 * 1, 1 * 3)), rtol=1e-4, atol=1e-6)


def table_of(text: str) -> dict[str, list[str]]:
    """The printed table: the words of each line by their first."""
    lines = text[text.index("member ") :].splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines[: 1 + [x[:8] for x in lines].index("ensemble")]}


@pytest.mark.parametrize("method", ["mean", "geometric", "max"])
def test_printed_gains_are_what_leaving_one_out_costs(tmp_path, out, capsys, method):
    weights = np.array([0.5, 0.3, 0.2])
    known = [
        make_member(tmp_path / "one", seed=1, folds=(0, 1), noise=1),
        make_member(tmp_path / "two", seed=2, folds=(1, 2)),
        make_member(tmp_path / "bad", seed=3, folds=(1, 2), noise=8),
    ]
    out.make("one", "two", "bad", options=("--method", method, "--weights", *weights))
    printed, ids = table_of(capsys.readouterr().out), np.sort(ids_of([0, 1, 2]))
    parts, targets = [in_order(each["oof"], ids) for each in known], targets_of(ids)

    def score(chosen: list[int], rows: np.ndarray) -> float:
        blended = []
        for row in rows:
            knows = [one for one in chosen if not np.isnan(parts[one][row, 0])]
            blended.append(METHODS[method]([parts[one][row] for one in knows], weights[knows]))
        return best_f2(np.array(blended), targets[rows])

    everyone = np.arange(len(ids))
    assert printed["ensemble"] == ["60", f"{score([0, 1, 2], everyone):.4f}"]
    for number, name in enumerate(("one", "two", "bad")):
        others = [one for one in range(3) if one != number]
        own = np.flatnonzero(~np.isnan(parts[number][:, 0]))
        left = np.flatnonzero(~np.isnan([parts[one][:, 0] for one in others]).all(0))
        folds, count, weight, alone, gain = printed[name]
        assert (folds, count, float(weight)) == ("2", "40", weights[number])
        assert float(alone) == pytest.approx(score([number], own), abs=6e-5)
        assert float(gain) == pytest.approx(score([0, 1, 2], left) - score(others, left), abs=1.1e-4)


def test_fitted_weights_score_better_and_leave_noise_out(tmp_path, out, capsys):
    known = [
        make_member(tmp_path / "good", seed=1, noise=0.8),
        make_member(tmp_path / "fair", seed=2, noise=1.2),
        make_member(tmp_path / "noise", seed=3, noise=20),
    ]
    out.make("good", "fair", "noise", options=("--method", "weighted"))
    made, weights = out.file("oof"), weights_in(out.folder)
    assert sum(weights.values()) == pytest.approx(1) and weights["noise"] < 0.1
    parts = [in_order(each["oof"], made.ids) for each in known]
    np.testing.assert_allclose(made.merged, np.average(parts, axis=0, weights=list(weights.values())), rtol=1e-4)
    best = best_f2(made.merged, made.targets)
    assert best > best_f2(np.mean(parts, axis=0), made.targets)
    assert table_of(capsys.readouterr().out)["ensemble"][1] == f"{best:.4f}"


def test_the_submission_has_the_rules_answers_in_the_samples_order(tmp_path, out, capsys):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2, shuffled=True)
    out.make("one", "two")
    submission = pd.read_csv(out.folder / "submission.csv", dtype=str, keep_default_na=False)
    sample = pd.read_csv(out.data / "sample_submission.csv", dtype=str)
    assert submission["id"].tolist() == sample["id"].tolist()
    assert list(submission.columns) == ["id", "attribute_ids"]
    (threshold,) = set(json.loads((out.folder / "rule.json").read_text())["thresholds"])
    test = out.file("test")
    oof = out.file("oof")
    assert f2(oof.merged >= np.float32(threshold), oof.targets) == pytest.approx(best_f2(oof.merged, oof.targets))
    cells = dict(zip(submission["id"], submission["attribute_ids"], strict=True))
    for name, row in zip(test.ids.tolist(), test.merged, strict=True):
        assert cells[name] == " ".join(np.array(LABELS)[row >= np.float32(threshold)])
    scores = json.loads((out.folder / "scores.json").read_text())
    assert scores["rows"] == ROWS and scores["rule_fitted_on_other_folds"] and scores["title"] == "F2"
    assert scores["oof"] <= best_f2(oof.merged, oof.targets)
    assert f"OOF      F2 {scores['oof']:.4f}" in capsys.readouterr().out
    assert len(pd.read_csv(out.folder / "label_scores.csv")) == 4
    assert fingerprint(read_recipe(out.folder / "recipe.json")) == fingerprint(recipe_of())


def test_intervals_are_of_whole_groups_where_the_table_is_there(tmp_path, out, capsys):
    make_member(tmp_path / "one", seed=1)
    out.make("one")
    assert "note: intervals resample single rows, not whole groups: " in capsys.readouterr().out
    rows = json.loads((out.folder / "scores.json").read_text())
    ids = ids_of([0, 1, 2])
    table = pd.DataFrame({"id": ids, "attribute_ids": "a", "group": [name[1] for name in ids]})  # ten groups
    table.to_csv(out.data / "train.csv", index=False)
    out.make("one")
    assert "whole groups" not in capsys.readouterr().out
    groups = json.loads((out.folder / "scores.json").read_text())
    made = out.file("oof")
    fit = fitter_of(recipe_of(), GROUPS).on(made.merged, made.targets)
    answers, _ = cross_fit(fit, made.merged, np.array([int(name[1:]) * 73 % 100 % NUM_FOLDS for name in made.ids]))
    for found, drawn in ((rows, None), (groups, np.array([name[1] for name in made.ids]))):
        interval = interval_of(recipe_of().scorer, answers, made.targets, groups=drawn)
        assert found["interval"] == pytest.approx(interval, abs=1e-9)
    assert rows["interval"] != groups["interval"]


def test_without_test_predictions_or_a_sample_there_is_a_note_and_no_submission(tmp_path, out, capsys):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2, test=False)
    out.make("one", "two")
    assert "no submission: 1 member (two) without test predictions; run `imettk infer` there" in capsys.readouterr().out
    (out.data / "sample_submission.csv").unlink()
    out.make("one")
    assert re.search("no submission.csv: .* is missing; give --data", capsys.readouterr().out)
    assert not (out.folder / "submission.csv").exists()


def test_classes_are_blended_to_one_answer_a_row(tmp_path, out, capsys):
    known = [make_member(tmp_path / name, seed=seed, task="multiclass") for seed, name in enumerate(("one", "two"))]
    pd.DataFrame({"id": np.sort(TEST_IDS), "label": "a"}).to_csv(out.data / "sample_submission.csv", index=False)
    out.make("one", "two", options=("--method", "geometric"))
    made = out.file("oof")
    assert made.targets.tolist() == targets_of(made.ids, "multiclass").tolist()
    parts = [in_order(each["oof"], made.ids) for each in known]
    np.testing.assert_allclose(made.merged, np.sqrt(parts[0] * parts[1]), rtol=1e-4)
    right = (made.merged.argmax(1) == made.targets).mean()
    text = capsys.readouterr().out
    assert table_of(text)["ensemble"][1] == f"{right:.4f}" and f"accuracy {right:.4f}" in text
    submission = pd.read_csv(out.folder / "submission.csv").sort_values("id")
    assert submission["label"].tolist() == [LABELS[one] for one in out.file("test").merged.argmax(1)]


def test_members_of_different_labels_are_joined_to_all(tmp_path, out, capsys):
    known = [
        make_member(tmp_path / "left", seed=1, columns=(0, 1)),
        make_member(tmp_path / "right", seed=2, columns=(2, 3), shuffled=True, views=2),
    ]
    line = refused(capsys, *out.words("left", "right"))
    assert "right and left have different labels: 4 labels (a, b, c, d); see --method join" in line
    out.make("left", "right", options=("--method", "join"))
    made = out.file("oof")
    assert made.values["labels"] == list(LABELS) and made.values["label_groups"] == list(GROUPS)
    np.testing.assert_array_equal(made.targets, targets_of(made.ids))
    parts = [in_order(each["oof"], made.ids) for each in known]
    np.testing.assert_allclose(made.merged, np.concatenate(parts, 1), rtol=1e-5)
    made = out.file("test")
    for column, each in zip((slice(0, 2), slice(2, 4)), known, strict=True):
        mean = mean_of_folds(each["test"], made.ids)
        np.testing.assert_allclose(made.merged[:, column], mean, rtol=1e-5)
    assert table_of(capsys.readouterr().out.replace("left + right", "left+right"))["left+right"][1] == "60"
    make_member(tmp_path / "both", seed=3, columns=(1, 2))
    line = refused(capsys, *out.words("left", "both"), "--method", "join")
    assert "--method join is for members of different labels; 1 label (b) more than once" in line
    make_member(tmp_path / "fewer", seed=3, columns=(2, 3), folds=(0, 1))
    line = refused(capsys, *out.words("left", "fewer"), "--method", "join")
    assert "fewer has the folds [0, 1], left [0, 1, 2]" in line
