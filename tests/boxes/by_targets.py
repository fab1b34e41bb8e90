"""Functions that need a task, for tests that have only targets: classes (N,), or labels (N, C)."""

from __future__ import annotations

from typing import Any

import numpy as np

from imettk.config import FoldConfig
from imettk.data.folds import make_folds, make_table_folds
from imettk.postprocess.neighbours import Conflicts, label_conflicts
from imettk.tasks import TASKS, Task


def task_of(targets: np.ndarray) -> Task:
    return TASKS["multiclass" if targets.ndim == 1 else "multilabel"]


def deal(targets: np.ndarray, plan: FoldConfig, **more: Any) -> np.ndarray:
    return make_folds(targets, plan, task=task_of(targets), **more)


def deal_tables(targets: np.ndarray, sources: np.ndarray, plan: FoldConfig, **more: Any) -> np.ndarray:
    return make_table_folds(targets, sources, plan, task=task_of(targets), **more)


def find_conflicts(rows: np.ndarray, similarities: np.ndarray, targets: np.ndarray, **more: Any) -> Conflicts:
    return label_conflicts(rows, similarities, targets, task=task_of(targets), **more)
