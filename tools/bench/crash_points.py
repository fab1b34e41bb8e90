"""Crash at every file event of a whole story, run the same commands again, and compare the results.

The story is prepare, a session of training, a second one, validate and infer, in one process. `ckpt-chaos` (MIT, on
PyPI; `pip install -e .[bench]`) counts each file that it opens for writing, renames or removes, and crashes it there:

- before: as a SIGKILL at that moment does it;
- torn: the file that was being written is cut to half its size;
- unsynced: what was not flushed to the disk is lost, as when the power fails.

Then the same story runs again in that folder. It must end well, with the bits of the story that nobody touched
(weights, averaged weights and optimizer, folds, rule, scores, submission), and a training has to go on from the newest
whole checkpoint. Every crash has a process of its own, forked from one that has imported torch.

`python tools/bench/crash_points.py [--check] [--quick] [--modes before torn unsynced] [--seed N] [--points N]`
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from table import Row, arguments_of, finish, print_machine
from tqdm import tqdm

MODES = ("before", "torn", "unsynced")
QUICK_POINTS = 4
KEPT = ("folds.csv", "table.json", "rule.json", "scores.json", "label_scores.csv", "submission.csv")
CONTINUES = re.compile(r"continues at step (\d+)")


class Point(NamedTuple):
    """A file event by its number, and the mode of the crash there."""

    number: int
    mode: str
    event: str


class Outcome(NamedTuple):
    """The outcome of a crash: the fault of the story that ran again, or ""."""

    point: Point
    fault: str


def small_recipe() -> Any:
    """A training of eight steps with a checkpoint after each."""
    from imettk.config import ImageFormat, ModelConfig, SessionConfig, StageConfig, TrainConfig
    from imettk.recipes.digits import digits

    return replace(
        digits(),
        images=ImageFormat(image_size=(24, 24), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_efficientnet", dropout=0.3),
        train=TrainConfig(ema_decay=0.9, precision="float32", validate_epochs=1, keep="best"),
        stages=(StageConfig(num_epochs=4, batch_size=12, lr=(1e-3,), hard_examples=0.25, augmentation="affine"),),
        session=SessionConfig(num_workers=0, checkpoint_seconds=0.0),
    )


def play(data: Path, run_dir: Path) -> None:
    """Play the whole story, or the part that is left of it."""
    import torch

    from imettk.commands.infer import infer
    from imettk.commands.prepare import prepare
    from imettk.commands.train import train
    from imettk.commands.validate import validate
    from imettk.tracking.run_dir import RunDir

    torch.set_num_threads(1)  # the process that this one is forked from may have had others
    recipe, run = small_recipe(), RunDir(run_dir)
    prepare(recipe, data, run)
    for limit in (3, None):
        session = replace(recipe.session, limit_steps=limit)
        train(replace(recipe, session=session), data, run, fold=0, started=time.monotonic())
    validate(recipe, data, run, fold=0)
    infer(recipe, data, run, fold=0, started=time.monotonic())


def in_process(work: Callable[[], None], output: Path) -> int:
    """Do the work in a separate process with its output in a file; return its exit code."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            os.dup2(file, 2)
            work()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def armed(data: Path, folder: Path, log: Path, point: Point | None = None) -> None:
    """Play the story under `ckpt-chaos`, which logs each file event and crashes at `point`."""
    from ckpt_chaos.inject import arm

    options = {} if point is None else {"crash_at": point.number, "mode": point.mode}
    arm(str(folder), log_path=str(log), torn_python=True, **options)
    play(data, folder / "run")


def bits_of(run_dir: Path) -> str:
    """Hash the story's results: the tensors of the last checkpoint and of the model, and `KEPT`."""
    digest = hashlib.sha256()
    fold = run_dir / "fold0"
    for path in (max((fold / "checkpoints").glob("step-*.safetensors")), fold / "model.safetensors"):
        content = path.read_bytes()
        digest.update(content[8 + int.from_bytes(content[:8], "little") :])  # the header tells of the session
    for name in KEPT:
        digest.update((run_dir / name).read_bytes())
    return digest.hexdigest()


def newest_step(run_dir: Path) -> int:
    """Return the step of the newest intact checkpoint; 0 if there is none or the training is done."""
    from imettk.training.checkpoint import is_valid

    fold = run_dir / "fold0"
    if (fold / "model.safetensors").is_file():
        return 0
    whole = [path for path in (fold / "checkpoints").glob("step-*.safetensors") if is_valid(path)]
    return max((int(path.stem[5:]) for path in whole), default=0)


def crash_and_go_on(data: Path, folder: Path, point: Point, expected: str) -> Outcome:
    """Crash once, and play the same story again."""
    out, log, lines = folder / "out", folder / "events", folder / "output"
    out.mkdir()
    if (code := in_process(lambda: armed(data, out, log, point), lines)) == 0:
        return Outcome(point, "")  # this story has fewer events: checkpoints are written beside the training
    if code != 137:
        return Outcome(point, f"ended with code {code} before the crash: {_last_line(lines)}")
    step = newest_step(out / "run")
    if code := in_process(lambda: play(data, out / "run"), lines):
        return Outcome(point, f"does not go on, code {code}: {_last_line(lines)}")
    found = CONTINUES.search(lines.read_text(errors="replace"))
    if step and (found is None or int(found[1]) < step):
        return Outcome(point, f"work is lost: a checkpoint of step {step} was there, {found and found[0]}")
    return Outcome(point, "" if bits_of(out / "run") == expected else "ends with other bits")


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


def read_events(log: Path, modes: Sequence[str]) -> list[Point]:
    """Read every crash point of a story: each event in each mode, `torn` only for writes."""
    points = []
    for line in log.read_text().splitlines():
        number, kind, name, tornable = line.split("\t")
        points += [
            Point(int(number), mode, f"{kind} {name}") for mode in modes if mode != "torn" or tornable.strip() == "1"
        ]
    return points


def campaign(folder: Path, modes: Sequence[str], num_points: int | None, seed: int) -> tuple[int, list[Outcome]]:
    """Return the number of file events, and the outcome of each crash."""
    from imettk.synthetic.digits import DigitsSize, make_digits

    data = folder / "data"
    size = DigitsSize(train_sheets=36, test_sheets=9, sheet_pixels=24)
    in_process(lambda: make_digits(data, folder / "answers.csv", size=size), folder / "output")
    (reference := folder / "reference").mkdir()
    if in_process(lambda: armed(data, reference, folder / "events"), folder / "output"):
        raise RuntimeError(f"the story fails without any crash: {_last_line(folder / 'output')}")
    expected = bits_of(reference / "run")
    points = read_events(folder / "events", modes)
    num_events = max(point.number for point in points)
    if num_points is not None and num_points < len(points):
        points = sorted(random.Random(seed).sample(points, num_points))
    outcomes = []
    for point in tqdm(points, desc="crashes", unit="crash"):
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            outcomes.append(crash_and_go_on(data, Path(scratch), point, expected))
            if outcomes[-1].fault:
                tqdm.write(f"FAILED: event {point.number}, {point.event} ({point.mode}): {outcomes[-1].fault}")
    return num_events, outcomes


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table: crashes and failures, mode by mode."""
    parser = arguments_of(__doc__)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--points", type=int, metavar="N", help="a sample of so many crash points; without it all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    arguments = parser.parse_args(argv)
    try:
        import ckpt_chaos  # noqa: F401
    except ImportError:
        print("ckpt-chaos is missing: pip install -e .[bench]", file=sys.stderr)
        sys.exit(2)
    # Loaded once, and nothing is computed here: what is forked must find no threads.
    import imettk.commands.infer
    import imettk.commands.prepare
    import imettk.commands.train
    import imettk.commands.validate  # noqa: F401

    num_points = QUICK_POINTS if arguments.quick else arguments.points
    with tempfile.TemporaryDirectory() as scratch:
        num_events, outcomes = campaign(Path(scratch), arguments.modes, num_points, arguments.seed)
    print_machine("safetensors", "ckpt-chaos")
    crashes, failures = Counter[str](), Counter[str]()
    for outcome in outcomes:
        crashes[outcome.point.mode] += 1
        failures[outcome.point.mode] += bool(outcome.fault)
    print(f"{num_events} file events in the story; {len(outcomes)} crashes, {failures.total()} failures\n")
    rows = [Row(f"{mode}: failures of {crashes[mode]} crashes", [failures[mode]], bar=0) for mode in crashes]
    finish(rows, arguments)


if __name__ == "__main__":
    main()
