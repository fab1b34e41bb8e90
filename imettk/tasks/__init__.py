"""Tasks, which say what is asked of an image: one per module, each a row of TASKS."""

from imettk.tasks.multiclass import Multiclass
from imettk.tasks.multilabel import Multilabel
from imettk.tasks.ordinal import Ordinal
from imettk.tasks.questions import Questions
from imettk.tasks.regression import Regression
from imettk.tasks.task import Task
from imettk.tasks.votes import Votes

TASKS: dict[str, Task] = {
    "multilabel": Multilabel(),
    "multiclass": Multiclass(),
    "regression": Regression(),
    "ordinal": Ordinal(),
    "votes": Votes(),
    "questions": Questions(),
}

__all__ = ["TASKS", "Task"]
