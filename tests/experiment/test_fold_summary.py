"""Rows, labels and folds are counted as they are."""

from dataclasses import replace

import numpy as np

from imettk.config import FoldConfig, Recipe, RuleConfig, TableFormat, TrainConfig
from imettk.data.sample_table import SampleTable
from imettk.experiment.fold_summary import describe_folds


def table_of(targets, labels):
    ids = np.array([f"r{row}" for row in range(len(targets))])
    return SampleTable(ids, ids, labels, ("",) * len(labels), targets, sources=np.zeros(len(ids), np.int64))


def recipe_of(task, loss, rule):
    plans = {"train": TrainConfig(loss=loss), "rule": RuleConfig(kind=rule), "folds": FoldConfig(num_folds=2)}
    return Recipe(table=TableFormat(task=task), **plans)


def test_classes_are_counted_in_each_fold():
    recipe = recipe_of("multiclass", "cross_entropy", "argmax")
    table = table_of(np.array([0, 0, 0, 0, 1, 1, 2]), ("a", "b", "c"))
    folds = np.array([0, 0, 1, 1, 0, 1, 0])
    lines = describe_folds(recipe, table, folds).split("\n")
    assert lines[0] == "7 rows, 3 labels, 0 of them without a row"
    assert "1 labels have a single row" in lines
    assert "folds: 0: 4 rows, 1: 3 rows" in lines
    assert "a label's rows differ between folds by 0.0% on average, 0.0% at most" in lines
    assert "fewer rows than folds: 1 label (c); folds without one say nothing about it" in lines
    nothing = replace(recipe, folds=FoldConfig(scheme="none"))
    assert describe_folds(nothing, table, np.full(7, -1)).endswith("all rows train, and none is validated")


def test_numbers_are_told_by_their_means():
    recipe = recipe_of("regression", "mse", "value")
    table = table_of(np.array([[1.0], [3.0], [10.0], [20.0]], np.float32), ("grams",))
    lines = describe_folds(recipe, table, np.array([0, 0, 1, 1])).split("\n")
    assert lines[0] == "4 rows, grams from 1 to 20, mean 8.5"
    assert lines[-1] == "means of the folds: 2; 15"
