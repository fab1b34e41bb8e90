"""Run folders as trainings leave them, for the log of all runs."""

from __future__ import annotations

import json
from pathlib import Path

from imettk.config import to_json
from imettk.recipes import load_recipe


def make_run(folder: Path, *, folds: tuple[int, ...] = (0, 1), started: float = 1000.0, **fields: object) -> Path:
    """Write a run folder: each fold has two sessions, the first killed some steps after its checkpoint."""
    recipe = json.loads(to_json(load_recipe("digits")))
    for name, value in fields.items():
        section, _, leaf = name.partition("__")
        recipe[section][leaf] = value
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe))
    for fold in folds:
        lines = [
            (0, "session", {"step": 0, "num_steps": 40, "code": "aaaa0000"}),
            (10, "train", {"step": 10, "loss": 0.5, "lr": 0.1}),
            (20, "train", {"step": 20, "loss": 0.4, "lr": 0.1}),
            (30, "train", {"step": 30, "loss": 0.3, "lr": 0.1}),
            (100, "session", {"step": 20, "num_steps": 40, "code": "bbbb1111"}),
            (110, "train", {"step": 30, "loss": 0.3, "lr": 0.1}),
            (120, "train", {"step": 40, "loss": 0.25, "lr": None}),
            (130, "validate", {"step": 40, "loss": 0.6, "score": 0.7 + fold / 10}),
            (136, "done", {"step": 40}),
        ]
        (folder / f"fold{fold}").mkdir()
        with (folder / f"fold{fold}" / "journal.jsonl").open("w") as file:
            for time, event, values in lines:
                file.write(json.dumps({"time": started + 1000 * fold + time, "event": event, **values}) + "\n")
    return folder
