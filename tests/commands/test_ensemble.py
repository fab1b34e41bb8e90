"""`ensemble`: prediction files joined by id and blended; every number against a plain recomputation."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from tiny import refused, run

from imettk.config import fingerprint, read_recipe, to_json
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.scoring import interval_of
from imettk.inference.predictor import Predictions, load_predictions, save_predictions
from imettk.postprocess.honest import cross_fit
from imettk.recipes.digits import digits

pytestmark = pytest.mark.usefixtures("no_charts_here")

LABELS = ("a", "b", "c", "d")
GROUPS = ("x", "x", "y", "y")
NUM_FOLDS, ROWS, TEST_ROWS = 3, 60, 20  # rows of training in all, fold by fold in turn


def recipe_of(task: str = "multilabel"):
    base = digits()
    if task == "multilabel":
        return replace(base, rule=replace(base.rule, kind="threshold", min_labels=0))
    table = replace(base.table, task=task, label_column="label", labels_csv=None)
    train, rule = replace(base.train, loss="cross_entropy"), replace(base.rule, kind="argmax")
    return replace(base, table=table, train=train, rule=rule)


def truth(task: str = "multilabel", count: int = ROWS) -> np.ndarray:
    rng = np.random.default_rng(5)
    if task == "multiclass":
        return rng.integers(0, len(LABELS), count)
    return (rng.random((count, len(LABELS))) < (0.5, 0.3, 0.2, 0.4)).astype(np.uint8)


def ids_of(folds: list[int]) -> np.ndarray:
    """Ids whose order is not that of the rows."""
    return np.array([f"r{(row * 37) % 100:02d}" for row in range(ROWS) if row % NUM_FOLDS in folds])


TEST_IDS = np.array([f"t{(row * 7) % TEST_ROWS:02d}" for row in range(TEST_ROWS)])


def make_member(
    path: Path,
    *,
    seed: int = 0,
    folds: tuple[int, ...] = (0, 1, 2),
    views: int = 1,
    noise: float = 1.5,
    task: str = "multilabel",
    columns: tuple[int, ...] = (0, 1, 2, 3),
    shuffled: bool = False,
    merge: str = "mean",
    test: bool = True,
) -> dict[str, dict[int, dict[str, np.ndarray]]]:
    """A run folder with predictions that know something of the truth; returns its probabilities by id."""
    rng, every = np.random.default_rng(seed), truth(task)
    path.mkdir(parents=True)
    (path / "recipe.json").write_text(to_json(recipe_of(task)))
    values = {"labels": [LABELS[one] for one in columns], "label_groups": [GROUPS[one] for one in columns]}
    values |= {"task": task, "views": ["plain", "hflip"][:views], "merge": merge, "model": "none"}
    known: dict[str, dict[int, dict[str, np.ndarray]]] = {"oof": {}, "test": {}}

    def write(kind: str, fold: int, ids: np.ndarray, targets: np.ndarray | None, signal: np.ndarray) -> None:
        logits = 2 * signal[None] - 1 + noise * rng.normal(size=(views, *signal.shape))
        probs = 1 / (1 + np.exp(-logits)) if task == "multilabel" else np.exp(logits)
        probs = (probs if task == "multilabel" else probs / probs.sum(-1, keepdims=True)).astype(np.float32)
        order = rng.permutation(len(ids)) if shuffled else np.arange(len(ids))
        targets = None if targets is None else targets[order]
        whole = Predictions(ids[order], np.ascontiguousarray(probs[:, order]), values, targets)
        save_predictions(path / f"fold{fold}" / f"{kind}.safetensors", whole)
        merged = probs.max(0) if merge == "max" else sum(probs) / views
        known[kind][fold] = dict(zip(ids.tolist(), merged, strict=True))

    for fold in folds:
        (path / f"fold{fold}").mkdir()
        own = every[fold::NUM_FOLDS]
        targets = own if task == "multiclass" else own[:, list(columns)]
        signal = np.eye(len(LABELS))[own] if task == "multiclass" else targets.astype(float)
        write("oof", fold, ids_of([fold]), targets, signal)
        if test:
            write("test", fold, TEST_IDS, None, rng.random((TEST_ROWS, len(columns))))
    return known


@pytest.fixture
def out(tmp_path):
    """Where the ensemble goes, how to make it, and what it wrote."""
    (tmp_path / "data").mkdir()
    sample = pd.DataFrame({"id": np.sort(TEST_IDS)[::-1], "attribute_ids": "a"})
    sample.to_csv(tmp_path / "data" / "sample_submission.csv", index=False)
    folder = tmp_path / "out"

    def words(*names: str) -> list[object]:
        return [
            "ensemble",
            "--data",
            tmp_path / "data",
            "--run-dir",
            folder,
            "--members",
            *(tmp_path / n for n in names),
        ]

    def make(*names: str, options: tuple[object, ...] = ()) -> None:
        run(*words(*names), *options)

    def file(kind: str) -> Predictions:
        return load_predictions(folder / f"{kind}.safetensors")

    return SimpleNamespace(data=tmp_path / "data", folder=folder, words=words, make=make, file=file)


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
    """Of each file's probabilities by themselves."""
    result = {}
    for fold, rows in known.items():
        matrix = np.stack(list(rows.values()))
        shares = (rankdata(matrix).reshape(matrix.shape) - 0.5) / matrix.size
        result[fold] = dict(zip(rows, shares, strict=True))
    return result


@pytest.mark.parametrize("given", [None, (3, 1)])
@pytest.mark.parametrize("method", METHODS)
def test_members_are_joined_by_id_and_blended(tmp_path, out, method, given):
    """Of the second member the rows lie in another order, it has two views, and the largest of them counts."""
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


def change(path: Path, **changes: object) -> None:
    """Write a prediction file again with something else in it."""
    save_predictions(path, replace(load_predictions(path), **changes))


def swap(one: Path, other: Path) -> None:
    one.rename(one.with_name("aside"))
    other.rename(one)
    one.with_name("aside").rename(other)


def turn_labels(two: Path) -> None:
    for file in two.glob("fold*/*.safetensors"):
        change(file, values=load_predictions(file).values | {"labels": list(LABELS[::-1])})


def remove_predictions(two: Path) -> None:
    for file in two.glob("fold*/*.safetensors"):
        file.unlink()


def replace_first_id(path: Path) -> None:
    change(path, ids=np.array(["other", *load_predictions(path).ids[1:]]))


FAULTS = {
    "order of labels": turn_labels,
    "ids of a fold": lambda two: replace_first_id(two / "fold1" / "oof.safetensors"),
    "folds": lambda two: swap(two / "fold0", two / "fold1"),
    "an id in two folds": lambda two: (two / "fold1").rename(two / "fold7"),
    "targets": lambda two: change(two / "fold1" / "oof.safetensors", targets=1 - truth()[1::NUM_FOLDS]),
    "test ids": lambda two: replace_first_id(two / "fold1" / "test.safetensors"),
    "a fold without test": lambda two: (two / "fold1" / "test.safetensors").unlink(),
    "no predictions": remove_predictions,
    "older": lambda two: change(two / "fold1" / "oof.safetensors", targets=None),
    "broken": lambda two: (two / "fold1" / "oof.safetensors").write_bytes(b"broken"),
}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("order of labels", "two and one have different labels: the same labels in another order"),
        ("ids of a fold", r"two: fold 1 has other rows than .* \(2 ids \(other, r\d+\) only in one of them\)"),
        ("folds", r"two: fold 0 has other rows than that of the members before \(40 ids"),
        ("an id in two folds", r"20 ids \(r.*\) in different folds of different members: they need the same folds.csv"),
        ("targets", "two: its rows have other labels than those of the members before"),
        ("test ids", r"two: its test set is another one \(2 ids \(other, t00\) only in one of them\)"),
        ("a fold without test", r"two: folds \[1\] lack test.safetensors: run `imettk infer` there again"),
        ("no predictions", r"two holds no fold\*/oof.safetensors: run `imettk validate` there first"),
        ("older", "fold1/oof.safetensors was written by an older version: run `imettk validate` there again"),
        ("broken", "fold1/oof.safetensors is not a prediction file of imettk"),
    ],
)
def test_members_that_do_not_fit_are_one_line(tmp_path, out, capsys, fault, message):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2)
    FAULTS[fault](tmp_path / "two")
    assert re.search(message, refused(capsys, *out.words("one", "two")))


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), (1, -1), (0, 0)])
def test_weights_that_do_not_fit_are_refused(tmp_path, out, capsys, weights):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2)
    line = refused(capsys, *out.words("one", "two"), "--weights", *weights)
    assert "--weights must be 2 numbers of 0 or above, one a member" in line
    assert not out.folder.exists()


def test_weights_beside_a_method_that_takes_none_are_refused(tmp_path, out, capsys):
    make_member(tmp_path / "one", seed=1)
    make_member(tmp_path / "two", seed=2)
    words = [*out.words("one", "two"), "--weights", 1, 2, "--method", "weighted"]
    assert "--method weighted takes none" in refused(capsys, *words)


def test_a_member_that_is_not_there_is_named(tmp_path, out, capsys):
    make_member(tmp_path / "one", seed=1)
    assert "nothing holds no fold*/oof.safetensors" in refused(capsys, *out.words("one", "nothing"))
    assert "nothing" in refused(capsys, *out.words("nothing", "one"))
