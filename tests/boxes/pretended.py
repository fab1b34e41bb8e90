"""Sessions that only pretend to train, so that hundreds of them run in seconds, and processes to kill."""

from __future__ import annotations

import ast
import json
import random
import threading
from collections.abc import Callable

from kaggle_box import Job, KaggleBox

from imettk.kaggle.cells import source_of
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import Chain, read_chain
from imettk.kaggle.mounts import MissingOutputs, find_outputs
from imettk.kaggle.outputs import write_output_list
from imettk.kaggle.sessions import push_kernel

STEPS, STEPS_A_SESSION = 10, 4


def settings_of(text: str) -> dict:
    """Return the constants of a kernel's text."""
    nodes = [node for node in ast.parse(source_of(text)).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    names = {(node.targets[0] if isinstance(node, ast.Assign) else node.target).id: node.value for node in nodes}
    return {name: ast.literal_eval(names[name]) for name in ("RECIPE", "ARGUMENTS", "PACK", "PUSH", "AFTER")}


def pretend(job: Job) -> str:
    """Run a session whose training continues from the step of its inputs, and records its steps in a file."""
    settings = settings_of(job.text)
    root = job.working.parent / "kaggle"
    (root / "input" / "notebooks").mkdir(parents=True)
    for name, folder in job.notebooks.items():
        (root / "input" / "notebooks" / name).parent.mkdir(exist_ok=True)
        (root / "input" / "notebooks" / name).symlink_to(folder)
    command = next(line for line in source_of(job.text).splitlines() if line.startswith('order = Order("')).split('"')[
        1
    ]
    write_output_list(job.working, push=settings["PUSH"], command=command, code=None, seconds=0.0)
    try:
        inputs = find_outputs(root, settings["AFTER"]) if settings["AFTER"] else []
    except MissingOutputs as error:
        write_output_list(job.working, push=settings["PUSH"], command=command, code=2, seconds=9.0, lacks=error.pushes)
        return "COMPLETE"
    (job.working / "recipe.json").write_text("{}")
    job.log.write_text(f"{command} begins\n")
    if command == "train":
        fold = settings["ARGUMENTS"][settings["ARGUMENTS"].index("--fold") + 1]
        before = [folder / f"fold{fold}" / "checkpoints" / "steps.csv" for folder in inputs]
        done = max((path.read_text().splitlines() for path in before if path.is_file()), key=len, default=[])
        done += [str(step) for step in range(len(done), min(STEPS, len(done) + STEPS_A_SESSION))]
        (job.working / f"fold{fold}" / "checkpoints").mkdir(parents=True)
        (job.working / f"fold{fold}" / "checkpoints" / "steps.csv").write_text("\n".join(done))
        status = {"state": "done" if len(done) == STEPS else "paused", "step": len(done), "num_steps": STEPS}
        (job.working / f"fold{fold}" / "status.json").write_text(json.dumps(status))
    else:
        (job.working / f"{command}.csv").write_text(",".join(sorted(settings["AFTER"])))
    if command == "infer":
        (job.working / "submission.csv").write_text("id,label\na,b\n")
    write_output_list(job.working, push=settings["PUSH"], command=command, code=0, seconds=3600.0)
    return "COMPLETE"


class Counted:
    """Pretended sessions that count how many GPU sessions ran at once."""

    def __init__(self) -> None:
        self.most, self._running, self._lock = 0, 0, threading.Lock()

    def __call__(self, job: Job) -> str:
        with self._lock:
            self._running += job.gpu
            self.most = max(self.most, self._running)
        try:
            return pretend(job)
        finally:
            with self._lock:
                self._running -= job.gpu


def new_chain(**settings) -> Chain:
    usual = {"name": "cells", "owner": "me", "recipe": "digits", "competition": "cells", "folds": [0, 1]}
    sources = {"datasets": ["me/imettk-pack/1"], "competitions": ["cells"], "pack": "abc"}
    return Chain(**(usual | sources | settings))


def assert_finished(box: KaggleBox, follower: Follower, folds: tuple[int, ...] = (0, 1)) -> None:
    """Check that all steps were made once and in order, and that every command had its inputs."""
    for fold in folds:
        steps = (follower.folder / f"fold{fold}" / "checkpoints" / "steps.csv").read_text().splitlines()
        assert steps == [str(step) for step in range(STEPS)]
    chain = follower.chain
    inferred = chain.of("infer")[-1]
    needed = [chain.of("prepare")[-1], *(chain.of("train", fold)[-1] for fold in folds), chain.of("validate")[-1]]
    assert inferred.after == [job.slug for job in needed]
    pushes = sorted(job.push for job in needed)
    assert (follower.folder / "infer.csv").read_text() == ",".join(pushes)


def failing(places: dict[str, int], how: str) -> Callable[[Job], str]:
    """Return a function that runs sessions, of which those at some places fail so many times in some way."""
    left, lock = dict(places), threading.Lock()

    def run(job: Job) -> str:
        with lock:
            place = next((place for place in left if place in job.slug and left[place] > 0), None)
            if place is not None:
                left[place] -= 1
        if place is None:
            return pretend(job)
        if how in ("ERROR", "CANCEL_ACKNOWLEDGED"):
            job.log.write_text("".join(f"line {number}\n" for number in range(50)) + "RuntimeError: out of luck\n")
            return how
        pretend(job)
        listed = json.loads((job.working / "imettk-output.json").read_text())
        if how == "user error":
            job.log.write_text("imettk: `lr` must be above 0\nimettk: train ended with code 2; this session counts\n")
            listed["code"] = 2
        elif how == "errored":  # as the platform sees it, after the command has ended
            return "ERROR"
        elif how == "killed":  # before its final list is written
            listed |= {"code": None, "files": {}}
        elif how == "code":  # the command failed, and its output exists
            listed["code"] = 1
        elif how == "stale":
            listed["push"] = "an-older-one"
        (job.working / "imettk-output.json").write_text(json.dumps(listed))
        return "CANCEL_ACKNOWLEDGED" if how == "killed" else "COMPLETE"

    return run


class Killed(BaseException):
    """The death of the process in the middle of any call, after which only the chain's file is left."""


def make_deadly(follower: Follower, monkeypatch, seed: int) -> list[int]:
    """Let the process be killed before or after any call and any writing of the state; return a count of the kills."""
    rng, kills = random.Random(seed), [0]

    def deadly(do: Callable) -> Callable:
        def done(*arguments, **options):
            moment = rng.random()
            if moment < 0.06:
                kills[0] += 1
                raise Killed
            answer = do(*arguments, **options)
            if moment > 0.94:
                kills[0] += 1
                raise Killed
            return answer

        return done

    account = follower.kaggle
    follower.chain.save(follower.folder)
    account.ask, account.get = deadly(account.ask), deadly(account.get)
    monkeypatch.setattr(Chain, "save", deadly(Chain.save))
    return kills


def follow_killed(follower: Follower) -> Follower:
    """Start again after each kill, and return the last follower."""
    for _ in range(1000):
        chain = read_chain(follower.folder)
        assert chain is not None
        follower = Follower(follower.kaggle, chain, follower.folder)
        try:
            if follower.look():
                break
            follower.kaggle.patience.sleep(0.02)
        except Killed:
            continue
    return follower


def push_and_die(follower: Follower, job) -> None:
    """Make a push that arrives, and whose answer is never read."""
    job.sent = True
    ask, account = follower.kaggle.ask, follower.kaggle

    def once(service, method, request, **options):
        ask(service, method, request, **options)
        account.ask = ask
        raise KeyboardInterrupt

    account.ask = once
    push_kernel(account, follower.chain.kernel(job))


def look_while(follower: Follower, condition: Callable[[], bool]) -> None:
    while condition():
        follower.look()
        follower.kaggle.patience.sleep(0.01)
