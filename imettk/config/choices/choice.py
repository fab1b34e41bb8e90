"""A row of anything that a recipe chooses by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from imettk.config.own import Own

# Forms of targets, as tasks name them.
LABELS, CLASSES, GRADES = "labels", "classes", "grades"
VALUES, VOTES, QUESTIONS = "values", "votes", "questions"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A row. `make` is the implementation, or a reference to it as "module:name"."""

    make: Any

    def load(self) -> Any:
        """Return the implementation."""
        return load(self.make)


def load(reference: Any) -> Any:
    """Return the object that "module:name" or an `Own` refers to; anything else is returned unchanged."""
    if isinstance(reference, Own):
        return reference.load()
    if not isinstance(reference, str):
        return reference
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
