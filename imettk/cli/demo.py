"""`imettk demo`: a whole competition in a few minutes, with the commands that a real one takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from imettk.cli.next_steps import START, say_next
from imettk.config import HINTS, SESSION_START
from imettk.errors import DataError, UserError
from imettk.progress import say
from imettk.recipes.digits import digits
from imettk.synthetic.digits import make_digits
from imettk.tracking.files import read_json

SESSION_STEPS = 250  # of the 407 steps of a fold, so that every fold needs two sessions
SCORES = {"best constant answer": "constant", "OOF": "oof", "test": "test"}


def demo(run_dir: Path) -> None:
    """Make a competition in `run_dir`, train three folds over two sessions each, validate, infer and print scores."""
    started = time.monotonic()
    if run_dir.exists() and any(run_dir.iterdir()):
        raise DataError(f"{run_dir} is not empty; give a new --run-dir, or remove it to run the demo again")
    data, answers = run_dir / "data", run_dir / "answers.csv"
    say(f"The demo makes a competition of handwritten digits in {data} and plays it from start to finish.")
    make_digits(data, answers)
    common = ["digits", "--data", str(data), "--run-dir", str(run_dir)]
    num_folds = digits().folds.num_folds
    _run_command(["prepare", *common])
    seconds = {"prepare": time.monotonic() - started}
    for fold in range(num_folds):
        begun = time.monotonic()
        status = {"state": "new"}
        while status["state"] != "done":
            _run_command(["train", *common, "--fold", str(fold), "--session.limit-steps", str(SESSION_STEPS)])
            status = read_json(run_dir / f"fold{fold}" / "status.json")
        seconds[f"train fold {fold}"] = time.monotonic() - begun
    for command, extra in (("validate", []), ("infer", ["--answers", str(answers)])):
        begun = time.monotonic()
        _run_command([command, *common, *extra])
        seconds[command] = time.monotonic() - begun
    _print_summary(run_dir, seconds, time.monotonic() - started)


def _run_command(arguments: list[str]) -> None:
    """Run one command in a process of its own, with its lines shown as they come."""
    say(f"\n$ imettk {' '.join(arguments)}")
    # Each command is a session of its own, whose clock starts with it.
    environment = {name: value for name, value in os.environ.items() if name != SESSION_START}
    environment[HINTS] = "0"  # the demo itself shows what follows
    done = subprocess.run([sys.executable, "-m", "imettk", *arguments], env=environment, check=False)
    if done.returncode:
        raise UserError(f"the demo stops here: `imettk {arguments[0]}` failed with code {done.returncode}, see above")


def _print_summary(run_dir: Path, seconds: dict[str, float], total: float) -> None:
    """Print the times of all commands, the scores, and where the results are."""
    scores = read_json(run_dir / "scores.json")
    say("\ncommand         sessions  seconds")
    for command, value in seconds.items():
        fold = command.removeprefix("train fold ")
        sessions = read_json(run_dir / f"fold{fold}" / "status.json")["sessions"] if fold != command else 1
        say(f"{command:<15} {sessions:>8}  {value:7.1f}")
    say(f"{'all':<15} {'':>8}  {total:7.1f}\n")
    values = ", ".join(f"{name} {scores[key]:.4f}" for name, key in SCORES.items())
    say(f"{scores['metric']}: {values}")
    say(f"{run_dir / 'submission.csv'} contains the answers, {run_dir / 'scores.json'} the scores,")
    say(f"{run_dir / 'fold0'} the model, journal and predictions of the first fold.")
    say(f"Everything on one page: {run_dir / 'report.html'}")
    say_next(START)
