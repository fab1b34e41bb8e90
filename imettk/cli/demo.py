"""`imettk demo`: the whole story once, through the same stages and commands that a real competition uses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from imettk.config import SESSION_START
from imettk.errors import DataError, UserError
from imettk.progress import say
from imettk.recipes.digits import digits
from imettk.synthetic.digits import make_digits
from imettk.tracking.files import read_json

SESSION_STEPS = 250  # of the 407 that a fold takes: every fold needs two sessions
SCORES = {"best constant answer": "constant", "OOF": "oof", "test": "test"}


def demo(run_dir: Path) -> None:
    """Make a competition in `run_dir`, train three folds over two sessions each, validate, infer, show scores."""
    started = time.monotonic()
    if run_dir.exists() and any(run_dir.iterdir()):
        raise DataError(f"{run_dir} is not empty; give a new --run-dir, or remove it to see the demo again")
    data, answers = run_dir / "data", run_dir / "answers.csv"
    say(f"The demo makes a competition of handwritten digits in {data} and plays it to the end.")
    make_digits(data, answers)
    common = ["digits", "--data", str(data), "--run-dir", str(run_dir)]
    num_folds = digits().folds.num_folds
    _command(["prepare", *common])
    seconds = {"prepare": time.monotonic() - started}
    for fold in range(num_folds):
        begun = time.monotonic()
        status = {"state": "new"}
        while status["state"] != "done":
            _command(["train", *common, "--fold", str(fold), "--session.limit-steps", str(SESSION_STEPS)])
            status = read_json(run_dir / f"fold{fold}" / "status.json")
        seconds[f"train fold {fold}"] = time.monotonic() - begun
    for stage, extra in (("validate", []), ("infer", ["--answers", str(answers)])):
        begun = time.monotonic()
        _command([stage, *common, *extra])
        seconds[stage] = time.monotonic() - begun
    _summary(run_dir, seconds, time.monotonic() - started)


def _command(arguments: list[str]) -> None:
    """Run one command in a process of its own, its lines shown as they come."""
    say(f"\n$ imettk {' '.join(arguments)}")
    environment = {name: value for name, value in os.environ.items() if name != SESSION_START}
    done = subprocess.run([sys.executable, "-m", "imettk", *arguments], env=environment, check=False)
    if done.returncode:
        raise UserError(f"the demo ends here: `imettk {arguments[0]}` failed with code {done.returncode}, see above")


def _summary(run_dir: Path, seconds: dict[str, float], total: float) -> None:
    scores = read_json(run_dir / "scores.json")
    say("\nstage           sessions  seconds")
    for stage, value in seconds.items():
        fold = stage.removeprefix("train fold ")
        sessions = read_json(run_dir / f"fold{fold}" / "status.json")["sessions"] if fold != stage else 1
        say(f"{stage:<15} {sessions:>8}  {value:7.1f}")
    say(f"{'all':<15} {'':>8}  {total:7.1f}\n")
    values = ", ".join(f"{name} {scores[key]:.4f}" for name, key in SCORES.items())
    say(f"{scores['metric']}: {values}")
    say(f"{run_dir / 'submission.csv'} holds the answers, {run_dir / 'scores.json'} the scores,")
    say(f"{run_dir / 'fold0'} the model, journal and predictions of the first fold.")
    say(f"See it all on one page: {run_dir / 'report.html'}")
