"""Trainings that earlier versions of imettk left half done go on, with the same bits."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from imettk.commands.train import train
from imettk.commands.validate import validate
from imettk.config import read_recipe
from imettk.device import describe
from imettk.experiment.prepared import choose_compute
from imettk.tracking.journal import read_journal
from imettk.tracking.run_dir import RunDir

BEGUN = Path(__file__).parent / "begun_by_356eef0"


def cpu() -> str:
    """Vendor, family, model and stepping: processors that agree in these add up in the same order."""
    wanted = ("vendor_id", "cpu family", "model", "stepping")
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    fields = dict(tuple(part.strip() for part in line.partition(":")[::2]) for line in lines)
    return " ".join(fields.get(name, "?") for name in wanted)


def environment_then() -> dict[str, str]:
    """Return the journal's line about the first session of 356eef0."""
    events = read_journal(BEGUN / "run" / "fold0" / "journal.jsonl")
    return next(event["environment"] for event in events if event["event"] == "session")


@pytest.fixture(autouse=True)
def threads_as_then() -> Iterator[None]:
    """Other numbers of threads add in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(environment_then()["threads"]))
    yield
    torch.set_num_threads(before)


def same_machine() -> bool:
    """Return whether bits can be compared: processor, threads and versions are those of 356eef0."""
    then = environment_then()
    now = describe(choose_compute(read_recipe(BEGUN / "run" / "recipe.json")).device)
    known = Path("/proc/cpuinfo").is_file() and cpu() == (BEGUN / "cpu.txt").read_text().strip()
    return known and all(then[name] == value for name, value in now.items())


@pytest.mark.parametrize("place", ["its own folder", "a kernel's input"])
def test_a_training_of_356eef0_goes_on_with_the_same_bits(place, tmp_path, capsys):
    run_dir, left = tmp_path / "run", tmp_path / "left"
    shutil.copytree(BEGUN / "run", run_dir if place == "its own folder" else left)
    run = RunDir(run_dir, [] if place == "its own folder" else [left])
    train(run.recipe(), BEGUN / "data", run, fold=0, started=time.monotonic())
    text = capsys.readouterr().out
    assert "continues at step 6 of 8" in text and "done after 8 steps" in text
    assert json.loads((run_dir / "fold0" / "status.json").read_text())["sessions"] == 2
    wanted, found = load_file(BEGUN / "model.safetensors"), load_file(run_dir / "fold0" / "model.safetensors")
    assert wanted.keys() == found.keys() and len(found) > 80
    if same_machine():
        assert all(np.array_equal(found[name], value) for name, value in wanted.items())
    else:
        assert all(np.allclose(found[name], value, rtol=1e-3, atol=1e-4) for name, value in wanted.items())


def test_a_model_of_356eef0_is_validated(tmp_path):
    """Finished by the old version, judged by this one."""
    run_dir = Path(shutil.copytree(BEGUN / "run", tmp_path / "run"))
    shutil.copy(BEGUN / "model.safetensors", run_dir / "fold0" / "model.safetensors")
    run = RunDir(run_dir)
    validate(run.recipe(), BEGUN / "data", run, fold=0)
    assert 0 < json.loads((run_dir / "scores.json").read_text())["oof"] <= 1
