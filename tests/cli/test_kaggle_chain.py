"""`imettk kaggle chain` and `status` as typed: their screens, and what they start, continue and stop."""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import sys
import threading
from contextlib import nullcontext
from functools import partial
from operator import setitem
from pathlib import Path
from types import SimpleNamespace

import pytest
from kaggle_box import Fault, Job
from pretended import failing, new_chain, pretend
from tiny import kaggle_command as command
from typed_chains import CHAIN, MINE, RUN, once_until

from imettk.cli import kaggle_chain as platform_chain
from imettk.cli import log as runs
from imettk.cli.main import main
from imettk.config import to_json
from imettk.errors import UserError
from imettk.kaggle import client, rounds
from imettk.kaggle.chain_state import read_chain
from imettk.kaggle.client import Patience
from imettk.recipes import load_recipe

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_one_command_to_the_end(chain_box, capsys, messages):
    command(*CHAIN)
    text = capsys.readouterr().out
    assert f"the submission is {RUN / 'submission.csv'}, from me/imettk-cells-infer-s1/1" in text
    assert messages[-1] == "cells: all is done, 5.0 GPU hours"
    state = read_chain(RUN)
    assert state is not None and state.datasets == ["me/imettk-pack/1"] and (RUN / "pack" / "mine.py").is_file()
    kernels = len(chain_box.kernels)
    command(*CHAIN)  # nothing is left to do
    assert len(chain_box.kernels) == kernels and len(chain_box.datasets["me/imettk-pack"].versions) == 1


def test_a_missing_submission_is_not_claimed_to_be_there(chain_box, capsys):
    command(*CHAIN)
    (RUN / "submission.csv").unlink()
    capsys.readouterr()
    command(*CHAIN)
    line = "`imettk kaggle pull me/imettk-cells-infer-s1/1 --only submission.csv --out runs/kaggle`"
    assert line in capsys.readouterr().out
    command(*line.strip("`").split()[2:])
    assert (RUN / "submission.csv").is_file()


def test_a_chain_that_has_stopped_stays_so_for_cron(chain_box, capsys, messages):
    """Otherwise a failing session would be tried at every look, and use up the week's hours."""
    chain_box._run_kernel = lambda job: "ERROR"
    words = (*CHAIN, "--retries", "0")
    command(*words, code=1)
    messages_before, kernels = len(messages), len(chain_box.kernels)
    for _ in range(2):
        capsys.readouterr()
        command(*words, "--once", code=1)
        assert "the same command without --once goes on" in capsys.readouterr().err
    assert len(chain_box.kernels) == kernels and len(messages) == messages_before
    command(*words, code=1)  # the user has looked into it
    assert sorted(chain_box.kernels) == ["me/imettk-cells-prepare-s1", "me/imettk-cells-prepare-s2"]
    assert messages[-1].startswith("cells: imettk-cells-prepare-s2 has failed 1 times")
    command(*words, "--stop")


def test_several_recipes_are_a_queue(chain_box, empty_store, capsys, monkeypatch):
    monkeypatch.setattr(rounds, "LINE_SECONDS", -1.0)
    shutil.copytree(empty_store, RUN / "log")
    Path("other.py").write_text(MINE.format(name="Whales__2"))
    command("chain", "mine.py", "other.py", "--competition", "cells", "--folds", "0,1")
    assert all(read_chain(RUN / name).is_done("infer") for name in ("cells", "whales-2"))
    pushed = [request["slug"] for method, request in chain_box.requests if method == "SaveKernel"]
    assert pushed.index("me/imettk-cells-f1-s1") < pushed.index("me/imettk-whales-2-f0-s1")
    capsys.readouterr()
    command("status")
    text = capsys.readouterr().out
    assert "cells: mine.py, folds 0, 1" in text and "whales-2: other.py, folds 0, 1" in text
    command("chain", "mine.py", "mine.py", "--competition", "cells", code=2)
    assert "need different names" in capsys.readouterr().err
    command("chain", "mine.py", "other.py", "--competition", "cells", "--name", "x", code=2)


def test_after_ctrl_c_the_sessions_of_a_queue_are_told_apart():
    chains = [new_chain(name=name) for name in ("cells", "whales")]
    for chain in chains:
        chain.add("train", 0, [], gpu=True)
    text = platform_chain._describe_left(argparse.Namespace(words=["kaggle", "chain"]), chains, 0.0)
    assert "go on at Kaggle: cells f0-s1 not pushed yet, whales f0-s1 not pushed yet\n" in text


@pytest.fixture
def running_chain(chain_box, monkeypatch):
    """A chain as cron has left it, with a training that runs until it is cancelled."""
    gate = threading.Event()

    def run(job: Job) -> str:
        if "-f" not in job.slug:
            return pretend(job)
        while not gate.wait(0.01):
            if job.cancel.is_set():
                return "CANCEL_ACKNOWLEDGED"
        return pretend(job)

    chain_box._run_kernel = run
    command(*CHAIN, "--once", "--limit-hours", "9")
    for _ in range(100):
        command(*CHAIN, "--once", "--limit-hours", "9")
        state = read_chain(RUN)
        if any(job.place == "f0-s1" and job.seen == "RUNNING" for job in state.jobs):
            break
    yield chain_box
    gate.set()


def test_a_log_has_lines_with_the_whole_status(running_chain, monkeypatch, capsys):
    monkeypatch.setattr(rounds, "LINE_SECONDS", -1.0)
    ahead, looks = running_chain.date, [0]
    running_chain.date = lambda: ahead() + 3 * 3600 + 12 * 60 + 30

    def sleep(seconds):
        looks[0] += 1
        if looks[0] > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=6, sleep=sleep))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["kaggle", *CHAIN, "--limit-hours", "9"])
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if "RUNNING 3:12 h of 9:00 h" in line)
    assert line.split()[0].count(":") == 1 and " cells: f0-s1 RUNNING" in line
    assert "30.0 of 30.0 GPU hours left, renewed Sat 02 Jan 00:00" in line
    assert line.endswith("next: sessions of fold 0 until trained, then validate")
    words = "imettk kaggle chain mine.py --competition cells --limit-hours 9"
    assert f"`{words}` watches again" in text and f"`{words} --stop` deletes them" in text
    assert "these go on at Kaggle: f0-s1 RUNNING" in text


def test_a_terminal_of_80_columns_shows_the_whole_status(running_chain, monkeypatch):
    rows: dict[int, str] = {}
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(
        rounds,
        "status_line",
        lambda place: nullcontext(SimpleNamespace(set_description_str=partial(setitem, rows, place))),
    )

    def sleep(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=6, sleep=sleep))
    with pytest.raises(SystemExit):
        main(["kaggle", *CHAIN, "--limit-hours", "9"])
    assert max(map(len, rows.values())) < 80
    text = " ".join(" ".join(rows.values()).split())
    assert "f0-s1 RUNNING" in text and text.endswith("next: sessions of fold 0 until trained, then validate")


def test_status_asks_the_platform_or_shows_the_age_of_its_view(running_chain, capsys):
    ahead = running_chain.date
    running_chain.date = lambda: ahead() + 3630
    command("status")
    text = capsys.readouterr().out
    assert "train fold 0    1 session   RUNNING 1:00 h of 9:00 h" in text and "30.0 of 30.0 GPU hours left" in text
    before = (RUN / "chain.json").read_bytes()
    running_chain.faults.add("GetKernelSessionStatus", Fault(503), times=6)
    command("status")
    text = capsys.readouterr().out
    assert "as last seen:" in text and "RUNNING, seen " in text and (RUN / "chain.json").read_bytes() == before


def test_stop_names_what_it_deletes(running_chain, capsys):
    command(*CHAIN, "--limit-hours", "9", "--stop")
    text = capsys.readouterr().out
    assert "deleting me/imettk-cells-f0-s1 and what this session has made" in text
    assert list(running_chain.deleted) == ["me/imettk-cells-f0-s1"]
    assert f"`imettk kaggle {shlex.join([*CHAIN, '--limit-hours', '9'])}` continues from what is kept" in text


def test_a_stopped_chain_has_no_expected_end(running_chain, capsys):
    Path(RUN / "preflight.json").unlink(missing_ok=True)
    state = read_chain(RUN)
    state.seconds_a_fold = 3600.0
    state.save(RUN)
    command("status")
    assert "trained about" in capsys.readouterr().out
    command(*CHAIN, "--limit-hours", "9", "--stop")
    command("status")
    assert "trained about" not in capsys.readouterr().out


def test_the_chain_of_another_account_is_left_alone(chain_box, capsys, monkeypatch):
    """Its sessions are not shown to this account, and would be pushed again."""
    once_until(chain_box, "prepare-s1")
    before, kernels = (RUN / "chain.json").read_bytes(), len(chain_box.kernels)
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_API_TOKEN", chain_box.add_token("b", "other"))
    for words in (CHAIN, (*CHAIN, "--stop")):
        command(*words, code=2)
        assert "runs/kaggle has a chain of me, but this is other's account: sign in as me" in capsys.readouterr().err
    assert (RUN / "chain.json").read_bytes() == before and len(chain_box.kernels) == kernels
    monkeypatch.setenv("KAGGLE_API_TOKEN", chain_box.add_token("c", "Me"))
    command(*CHAIN)


def test_the_end_of_watching_is_reported(running_chain, monkeypatch, messages):
    """A refused key may be corrected while the chain goes on looking, but not for ever."""
    running_chain.key = "another"
    monkeypatch.setattr(rounds, "UNCLEAR_SECONDS", 0.0)
    monkeypatch.setattr(rounds, "TELL_SECONDS", -1.0)
    command(*CHAIN, "--limit-hours", "9", code=1)
    assert "does not accept these credentials (401)" in messages[-1] and "kkkk" not in " ".join(messages)


def test_a_failure_that_cannot_heal_is_reported_with_its_line(chain_box, capsys, messages):
    chain_box._run_kernel = failing({"-f0-": 1}, "user error")
    command(*CHAIN, code=1)
    assert "`lr` must be above 0 (correct it, and run the same command)" in capsys.readouterr().err
    assert "`lr` must be above 0" in messages[-1]
    command(*CHAIN)


def test_a_chain_of_an_earlier_version_continues(chain_box):
    """Its file has no recipe, references and times of the platform."""
    once_until(chain_box, "f0-s1")
    path = RUN / "chain.json"
    content = json.loads(path.read_text())
    for name in ("models", "machine", "described", "seconds_a_fold"):
        del content[name]
    for job in content["jobs"]:
        for name in (
            "reference",
            "running_at",
            "seen",
            "seen_at",
            "looks",
            "lacked",
            "short_seconds",
            "step",
            "num_steps",
        ):
            del job[name]
    path.write_text(json.dumps(content))
    (RUN / "recipe.json").write_text(to_json(load_recipe("mine.py")))
    command(*CHAIN)
    assert read_chain(RUN).is_done("infer")


def test_the_hint_after_a_failed_import_uses_the_same_log(tmp_path, capsys, monkeypatch):
    def busy(*_: object) -> None:
        raise UserError("log is in use")

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(to_json(load_recipe("digits")))
    monkeypatch.setattr(runs, "import_runs", busy)
    runs.take_into_log([tmp_path / "run"], tmp_path / "log")
    hint = capsys.readouterr().out.split("`")[1]
    monkeypatch.undo()
    main(shlex.split(hint)[1:])
    assert (tmp_path / "log").is_dir()


def test_another_account_cannot_continue_a_chain(chain_box, capsys):
    once_until(chain_box, "prepare-s1")
    state, pushed = read_chain(RUN), len(chain_box.kernels)
    state.owner = "you"
    state.save(RUN)
    for words in (CHAIN, (*CHAIN, "--stop")):
        command(*words, code=2)
        assert "a chain of you, but this is me" in capsys.readouterr().err
    assert len(chain_box.kernels) == pushed


def test_a_stop_needs_no_recipe_and_names_what_it_could_not_stop(running_chain, capsys):
    Path("mine.py").write_text("def recipe(:")
    running_chain.faults.add("GetKernelSessionStatus", Fault(503), times=12)
    command(*CHAIN, "--stop", code=1)
    assert "not stopped yet: imettk-cells-f0-s1; run the same command again" in capsys.readouterr().err
    command(*CHAIN, "--stop")
    assert list(running_chain.deleted) == ["me/imettk-cells-f0-s1"]
