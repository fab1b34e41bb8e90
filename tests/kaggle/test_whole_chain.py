"""A whole chain on Kaggle in a box: real packs, real kernels in the platform's layout, real trainings."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from forked import PATIENCE
from kaggle_box import Job, KaggleBox, fast_patience
from real_sessions import run_for_real
from sklearn.metrics import fbeta_score

from imettk.cli.main import main
from imettk.kaggle import client, jobs
from imettk.kaggle import pack as packing
from imettk.kaggle.chain_state import read_chain
from imettk.kaggle.outputs import OUTPUT
from imettk.kaggle.sandbox import NOTEBOOK
from imettk.tracking.tensors import read_tensors

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
FOLDS = (0, 1)


def f2_of(answers: Path):
    """Return a function that scores a submission by the true answers."""
    truth = pd.read_csv(answers, dtype=str).set_index("id")["attribute_ids"].fillna("")

    def score(path: Path) -> tuple[float, float]:
        given = pd.read_csv(path, dtype=str).set_index("id")["attribute_ids"].fillna("")
        names = sorted({name for text in (*truth, *given) for name in text.split()})
        wanted, predicted = (
            np.array([[name in text.split() for name in names] for text in column.loc[truth.index]])
            for column in (truth, given)
        )
        value = float(fbeta_score(wanted, predicted, beta=2, average="samples", zero_division=0))
        return round(value, 5), round(value / 2, 5)

    return score


@pytest.fixture
def whole(make_box, warm_python, pack, digits_data, empty_store, tmp_path, monkeypatch) -> KaggleBox:
    """A box whose sessions really train, with an account and an empty log."""
    monkeypatch.setattr(client, "Patience", fast_patience)
    shutil.copytree(empty_store, tmp_path / "log")
    # The box's proxy leads to no package index: use the wheels that were fetched before.
    monkeypatch.setattr(
        packing, "_build_wheels", lambda out, names: [shutil.copy(path, out) for path in pack.glob("*.whl")]
    )
    box = make_box(run_for_real(warm_python))
    box.add_competition("digits", digits_data / "data", f2_of(digits_data / "answers.csv"))
    return box


def command(*words: str, code: int | None = 0) -> None:
    """Run a command in this process, which must exit with this code; None accepts any but 2."""
    with pytest.raises(SystemExit) as ending:
        main(list(words))
    assert ending.value.code == code if code is not None else ending.value.code != 2


def killed_at_its_end(run, slug: str):
    """Return a function that runs sessions, and kills one after its last checkpoint, before it lists its output."""

    def run_or_kill(job: Job) -> str:
        status = run(job)
        if slug not in job.slug:
            return status
        path = job.working / OUTPUT
        path.write_text(json.dumps(json.loads(path.read_text()) | {"code": None, "files": {}}))
        return "CANCEL_ACKNOWLEDGED"

    return run_or_kill


@pytest.mark.slow
def test_from_a_laptop_to_a_score(whole, imettk, digits_data, tmp_path, capsys, monkeypatch):
    """Two folds of three sessions each, with a new process for every look; then once without any platform.

    Every call may fail in every way, lists come late, and one session is killed in the middle of its training. Each
    fold's first session is a script, and the others are notebooks.
    """
    run_dir = tmp_path / "run"
    monkeypatch.setattr(jobs, "LOST_SECONDS", -1.0)
    whole.late_listings, whole.failed_outputs = 1, "attached"
    whole._run_kernel = killed_at_its_end(whole._run_kernel, "-f0-s2")
    whole.faults.storm(seed=1, rate=0.05)
    chain = ["kaggle", "chain", "digits", "--competition", "digits", "--folds", "0,1", "--run-dir", str(run_dir)]
    limit, kind = time.monotonic() + PATIENCE, "--no-notebook"
    while time.monotonic() < limit:
        command(*chain, "--once", kind, "--session.limit-steps", "4", code=None)
        state = read_chain(run_dir)
        if state is not None and all(state.of("train", fold) for fold in FOLDS):
            kind = "--no-notebook" if state.of("validate") else "--notebook"
        if state is not None and state.is_done("infer"):
            break
        whole.wait_for_an_end()
    assert state is not None and state.is_done("infer"), capsys.readouterr().out
    notes = {fold: [job.note for job in state.of("train", fold)] for fold in FOLDS}
    killed = "CANCEL_ACKNOWLEDGED in the middle of train: the next session continues from its checkpoints"
    assert notes == {0: ["step 4 of 11", killed, "step 11 of 11"], 1: [f"step {step} of 11" for step in (4, 8, 11)]}
    assert len(whole.faults.happened) > 5 and all(len(versions) == 1 for versions in whole.kernels.values())
    whole.faults.storm(seed=1, rate=0)

    local = tmp_path / "local"
    for name, fold in [("prepare", None), *(("train", fold) for fold in FOLDS), ("validate", None), ("infer", None)]:
        which = [] if fold is None else ["--fold", str(fold)]
        at = ["--data", str(digits_data / "data"), "--run-dir", str(local)]
        imettk(name, "digits", *at, *which)
    for fold in FOLDS:
        last = whole.kernels[f"me/{state.of('train', fold)[-1].slug}"][-1].job.working
        ours, theirs = (read_tensors(path / f"fold{fold}" / "model.safetensors").tensors for path in (last, local))
        assert ours.keys() == theirs.keys() and len(ours) > 10
        assert all(ours[name].numpy().tobytes() == theirs[name].numpy().tobytes() for name in ours)
        executed = nbformat.read(last.parent / NOTEBOOK, as_version=4)
        nbformat.validate(executed)
        assert f"fold {fold}: done after 11 steps" in json.dumps(executed.cells[-1].outputs)
    assert (run_dir / "submission.csv").read_bytes() == (local / "submission.csv").read_bytes()

    capsys.readouterr()
    infer = f"me/{state.of('infer')[-1].slug}"
    command("kaggle", "submit", "digits", "--kernel", f"{infer}/1", "--run-dir", str(run_dir))
    public, private = f2_of(digits_data / "answers.csv")(local / "submission.csv")
    assert f"public {public:.5f}, private {private:.5f}" in capsys.readouterr().out
    main(["log", "--store", str(tmp_path / "log")])
    line = capsys.readouterr().out.splitlines()[1]
    assert "2/3" in line and f"{public:.4f}  {private:.4f}" in line  # one line: nothing came in twice
