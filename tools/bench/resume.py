"""Kill a training again and again, continue it, and compare its bits with an undisturbed training's.

The training has everything in it that could differ: shuffle, random augmentation, dropout, MixUp and CutMix, averaged
weights, accumulation, float16 with its loss scale, hard examples, two stages, two loader processes, checkpoints in the
background. Half of the kills come at a random micro-batch, the others at a random moment, checkpoints in hand included.
SIGKILL, processes of their own. Lightning and Accelerate go through the same on a small task, as their documentation
shows it, where they are installed.

`python tools/bench/resume.py [--check] [--quick] [--kills N] [--peer-kills N]`
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import peer_trainings
import peers
from table import Row, arguments_of, finish, print_machine

from imettk.commands.prepare import prepare
from imettk.commands.train import train
from imettk.config import ImageFormat, ModelConfig, Recipe, SessionConfig, StageConfig, TrainConfig
from imettk.data.dataset import load_batches
from imettk.recipes.digits import digits
from imettk.synthetic.digits import DigitsSize, make_digits
from imettk.tracking.run_dir import RunDir

PEER_STEPS, PEER_SAVES = 24, 5


class Campaign(NamedTuple):
    """The numbers of kills, of trainings, and of trainings with the bits of the undisturbed one."""

    name: str
    kills: int
    runs: int
    same: int


def recipe() -> Recipe:
    """Return a small recipe with everything that is random."""
    common = {"batch_size": 8, "accumulate": 2, "augmentation": "affine", "clip_norm": 1.0}
    return replace(
        digits(),
        images=ImageFormat(image_size=(32, 32), channels=1, mean=(0.2,), std=(0.3,)),
        model=ModelConfig(backbone="timm:test_resnet", dropout=0.3, layer_groups=2),
        train=TrainConfig(ema_decay=0.9, precision="float16", validate_epochs=1, keep="best"),
        stages=(
            StageConfig(num_epochs=1.5, lr=(1e-3,), optimizer="sgd", frozen_groups=1, mixup=0.4, **common),  # type: ignore[arg-type]
            StageConfig(
                num_epochs=3,
                lr=(1e-4, 1e-3, 1e-2),
                warmup_epochs=0.5,
                mixup=0.2,
                cutmix=1.0,
                hard_examples=0.25,
                label_smoothing=0.1,
                **common,  # type: ignore[arg-type]
            ),
        ),
        session=SessionConfig(num_workers=2, checkpoint_seconds=0.3, tensorboard=False),
    )


def in_process(work: Callable[[], None], *, kill_after: float | None = None) -> bool:
    """Do the work in a separate process, killed after so many seconds; return True if it finished."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            work()
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a training failed with code {code}, without being killed")
    return code == 0


def run_ours(folder: Path, data: Path, prepared: Path, kill_at: int | None = None) -> None:
    """Run a session of our training, which kills itself before micro-batch `kill_at`."""

    def deadly(*arguments: object, **options: object) -> Iterator[object]:
        for batch in load_batches(*arguments, **options):  # type: ignore[arg-type]
            deadly.left -= 1  # type: ignore[attr-defined]
            if deadly.left < 0:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    if kill_at is not None:
        deadly.left = kill_at  # type: ignore[attr-defined]
        mock.patch("imettk.training.feed.load_batches", deadly).start()
    train(recipe(), data, RunDir(folder, [prepared]), fold=0, started=time.monotonic())


def bits_of(folder: Path) -> str:
    """Hash the last checkpoint (weights, averaged weights, optimizer and the rest) and the final model."""
    newest = max((folder / "fold0" / "checkpoints").glob("step-*.safetensors"))
    digest = hashlib.sha256()
    for path in (newest, folder / "fold0" / "model.safetensors"):
        content = path.read_bytes()
        digest.update(
            content[8 + int.from_bytes(content[:8], "little") :]
        )  # not its header, which tells of the session
    return digest.hexdigest()


def kill_ours(folder: Path, num_kills: int, chance: random.Random) -> Campaign:
    """Run trainings one after another, each killed a few times, until there were enough kills."""
    data, prepared = folder / "data", folder / "prepared"
    in_process(
        lambda: make_digits(
            data, folder / "answers.csv", size=DigitsSize(train_sheets=72, test_sheets=24, sheet_pixels=32)
        )
    )
    in_process(lambda: prepare(recipe(), data, RunDir(prepared)))
    started = time.monotonic()
    in_process(lambda: run_ours(folder / "untouched", data, prepared))
    seconds = time.monotonic() - started
    expected = bits_of(folder / "untouched")
    kills = runs = same = 0
    while kills < num_kills:
        run = folder / f"run{runs}"
        for _ in range(min(chance.randint(1, 6), num_kills - kills)):
            if chance.random() < 0.5:
                number = chance.randrange(20)
                ended = in_process(lambda run=run, number=number: run_ours(run, data, prepared, number))  # type: ignore[misc]
            else:
                ended = in_process(
                    lambda run=run: run_ours(run, data, prepared),  # type: ignore[misc]
                    kill_after=chance.uniform(0, seconds / 2),
                )
            kills += not ended
        in_process(lambda run=run: run_ours(run, data, prepared))  # type: ignore[misc]
        runs += 1
        same += bits_of(run) == expected
        print(f"imettk: {kills} kills, {same} of {runs} trainings with the same bits", file=sys.stderr)
    return Campaign("imettk, 2 loader processes", kills, runs, same)


def kill_peer(peer: str, num_workers: int, folder: Path, num_kills: int, chance: random.Random) -> Campaign:
    """Do the same for a peer, which kills itself at the start of random steps."""

    def session(run: Path, kill_at: int | None) -> bool:
        return in_process(
            lambda: peer_trainings.train_until_killed(
                peer, run, num_steps=PEER_STEPS, save_every=PEER_SAVES, kill_at=kill_at, num_workers=num_workers
            )
        )

    session(folder / "untouched", None)
    expected = (folder / "untouched" / "hash").read_text()
    kills = runs = same = 0
    while kills < num_kills:
        run = folder / f"run{runs}"
        for step in sorted(chance.sample(range(1, PEER_STEPS), min(2, num_kills - kills))):
            kills += not session(run, step)
        session(run, None)
        runs += 1
        same += (run / "hash").read_text() == expected
    return Campaign(f"{peer}, {num_workers} loader processes", kills, runs, same)


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--kills", type=int, default=60, help="of our training (default: %(default)s)")
    parser.add_argument("--peer-kills", type=int, default=20, help="of each peer's (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    arguments = parser.parse_args()
    found = {} if arguments.quick else peers.installed()
    print_machine(*found)
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        campaigns = [kill_ours(Path(folder, "imettk"), 4 if arguments.quick else arguments.kills, chance)]
        for peer in [name for name in ("lightning", "accelerate") if name in found]:
            for num_workers in (0, 2):
                place = Path(folder, f"{peer}{num_workers}")
                campaigns.append(kill_peer(peer, num_workers, place, arguments.peer_kills, chance))
    print(f"{'':<46}{'kills':>10}{'trainings':>10}{'same bits':>10}")
    for campaign in campaigns:
        print(f"{campaign.name:<46}{campaign.kills:>10}{campaign.runs:>10}{campaign.same:>10}")
    print()
    finish(
        [Row("imettk: trainings that ended with other bits", [campaigns[0].runs - campaigns[0].same], bar=0)], arguments
    )


if __name__ == "__main__":
    main()
