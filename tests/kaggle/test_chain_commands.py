"""`imettk kaggle chain` and `status` as they are typed: what has changed, what people wait for, what goes on."""

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
from kaggle_box import Fault, Job, KaggleBox
from pretended import failing, new_chain, pretend, settings_of
from tiny import kaggle_command as command

from imettk.cli import kaggle_chain as platform_chain
from imettk.cli import log as runs
from imettk.cli.main import main
from imettk.config import to_json
from imettk.errors import UserError
from imettk.kaggle import begin, client, jobs, rounds
from imettk.kaggle import pack as packing
from imettk.kaggle.chain_state import read_chain
from imettk.kaggle.client import Patience
from imettk.recipes import load_recipe
from imettk.tracking import telegram
from imettk.tracking.files import write_json

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
MINE = """
from dataclasses import replace
from imettk.recipes.digits import digits

def recipe():
    return replace(digits(), name="{name}")
"""
RUN = Path("runs/kaggle")


@pytest.fixture
def told(monkeypatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(telegram.Notifier, "send", lambda self, make: messages.append(make().text))
    return messages


@pytest.fixture
def box(open_cells, monkeypatch, told) -> KaggleBox:
    monkeypatch.setattr(jobs, "LOST_SECONDS", -1.0)
    Path("mine.py").write_text(MINE.format(name="cells"))
    return open_cells(pretend)


CHAIN = ("chain", "mine.py", "--competition", "cells")


def once_until(box: KaggleBox, place: str, *words: object) -> None:
    """Look as cron does until the last session of this place has been settled."""
    for _ in range(100):
        command(*(words or CHAIN), "--once")
        box.wait()
        state = read_chain(RUN)
        assert state is not None
        if any(job.place == place and job.has_output for job in state.jobs):
            return
    raise AssertionError(place)


def test_one_command_to_the_end(box, capsys, told):
    command(*CHAIN)
    text = capsys.readouterr().out
    assert f"the submission is {RUN / 'submission.csv'}, of me/imettk-cells-infer-s1/1" in text
    assert told[-1] == "cells: all is done, 5.0 GPU hours"
    state = read_chain(RUN)
    assert state is not None and state.datasets == ["me/imettk-pack/1"] and (RUN / "pack" / "mine.py").is_file()
    kernels = len(box.kernels)
    command(*CHAIN)  # nothing is left to do
    assert len(box.kernels) == kernels and len(box.datasets["me/imettk-pack"].versions) == 1


def test_a_submission_is_not_said_to_be_where_it_is_not(box, capsys):
    command(*CHAIN)
    (RUN / "submission.csv").unlink()
    capsys.readouterr()
    command(*CHAIN)
    line = "`imettk kaggle pull me/imettk-cells-infer-s1/1 --only submission.csv --out runs/kaggle`"
    assert line in capsys.readouterr().out
    command(*line.strip("`").split()[2:])
    assert (RUN / "submission.csv").is_file()


def test_a_recipe_that_is_edited_before_it_has_trained_is_packed_anew(box, capsys):
    box.max_gpu = 0  # so that nothing begins to train
    once_until(box, "prepare-s1")
    box.max_gpu = 2
    Path("mine.py").write_text(MINE.format(name="cells") + "# better\n")
    capsys.readouterr()
    command(*CHAIN)
    text = capsys.readouterr().out
    assert "cells: from here on source_sha256" in text and "packed anew, from here on me/imettk-pack/2" in text
    state = read_chain(RUN)
    assert state is not None and len(state.of("prepare")) == 1 and state.datasets == ["me/imettk-pack/2"]
    sent = [box.kernels[f"me/{job.slug}"][0] for job in state.jobs if f"me/{job.slug}" in box.kernels]
    versions = [version.request["datasetDataSources"] for version in sent]
    assert ["me/imettk-pack/1"] in versions and versions[-1] == ["me/imettk-pack/2"]
    assert settings_of(sent[-1].request["text"])["PACK"] == state.pack


def test_folds_that_are_dealt_otherwise_are_prepared_again(box, capsys):
    box.max_gpu = 0
    once_until(box, "prepare-s1")
    box.max_gpu = 2
    command(*CHAIN, "--folds.seed", "7")
    assert "cells: to be made again: prepare\n" in capsys.readouterr().out
    state = read_chain(RUN)
    assert [job.state for job in state.of("prepare")] == ["failed, tried again", "done"]
    first = box.kernels["me/imettk-cells-f0-s1"][0]
    assert first.request["kernelDataSources"] == ["me/imettk-cells-prepare-s2"]


def test_a_recipe_that_is_edited_while_it_trains_is_refused(box, capsys):
    """Its checkpoints are of the older one; the older file is on the platform."""
    once_until(box, "f0-s1")
    before = Path("mine.py").read_text()
    Path("mine.py").write_text(before + "# better\n")
    kernels = len(box.kernels)
    capsys.readouterr()
    for words in (CHAIN, (*CHAIN, "--once")):
        command(*words, code=2)
        line = capsys.readouterr().err
        assert "its training cannot go on with another recipe: take the change back" in line
        assert "(dataset me/imettk-pack/1 has the file as it was)" in line
        assert "--name NAME --run-dir DIR" in line and "source_sha256" in line
    assert len(box.kernels) == kernels
    Path("mine.py").write_text(before)
    command(*CHAIN)


def test_what_changes_no_weights_goes_on_at_once(box, capsys):
    command(*CHAIN)
    capsys.readouterr()
    command(*CHAIN, "--rule.beta", "1", "--limit-hours", "6")
    text = capsys.readouterr().out
    assert "cells: from here on rule.beta: 2.0 -> 1.0" in text and "cells: to be made again: validate, infer" in text
    state = read_chain(RUN)
    assert state is not None
    assert [len(state.of(*place)) for place in state.places] == [1, 3, 2, 2]
    last = box.kernels["me/imettk-cells-infer-s2"][0]
    assert "--rule.beta" in settings_of(last.request["text"])["ARGUMENTS"]
    assert last.request["sessionTimeoutSeconds"] == 6 * 3600
    command(*CHAIN, "--rule.beta", "1", "--folds", "0,1")  # one fold more
    state = read_chain(RUN)
    assert state is not None and [len(state.of(*place)) for place in state.places] == [1, 3, 3, 3, 3]


def test_a_wrong_competition_is_put_right_in_the_same_folder(box, capsys, told):
    command("chain", "mine.py", "--competition", "cell", code=1)
    line = capsys.readouterr().err
    assert "accept its rules first: kaggle.com/c/cell/rules" in line
    assert len(read_chain(RUN).jobs) == 1 and "does not know cell" in told[-1]
    command(*CHAIN)
    assert read_chain(RUN).is_done("infer")


def test_a_pack_that_is_not_there_any_more_is_made_again(box, capsys):
    """Its dataset was deleted, and made again by another chain: each kernel finds another pack under the number."""
    box._run_kernel = failing({"-f0-s2": 1}, "user error")
    command(*CHAIN, code=1)
    box.datasets.clear()
    shutil.rmtree(box.root / "datasets")
    Path("other.py").write_text(MINE.format(name="whales"))
    command("pack", "other.py", "--upload")
    capsys.readouterr()
    command(*CHAIN)
    assert "packed anew" not in capsys.readouterr().out  # the same content under another number
    state = read_chain(RUN)
    assert state.is_done("infer") and state.datasets == ["me/imettk-pack/2"]


def test_other_data_is_another_chain(box, capsys):
    once_until(box, "prepare-s1")
    command("chain", "mine.py", "--competition", "whales", code=2)
    assert "competition: 'cells' -> 'whales'" in capsys.readouterr().err


def test_a_chain_that_has_stopped_stays_so_for_cron(box, capsys, told):
    """Otherwise what fails would be tried at every look, and take the week's hours with it."""
    box._run_kernel = lambda job: "ERROR"
    words = (*CHAIN, "--retries", "0")
    command(*words, code=1)
    told_before, kernels = len(told), len(box.kernels)
    for _ in range(2):
        capsys.readouterr()
        command(*words, "--once", code=1)
        assert "the same command without --once goes on" in capsys.readouterr().err
    assert len(box.kernels) == kernels and len(told) == told_before
    command(*words, code=1)  # somebody has looked into it
    assert sorted(box.kernels) == ["me/imettk-cells-prepare-s1", "me/imettk-cells-prepare-s2"]
    assert told[-1].startswith("cells: imettk-cells-prepare-s2 has failed 1 times")
    command(*words, "--stop")


def test_a_name_is_used_once(box, capsys):
    command(*CHAIN)
    command(*CHAIN, "--run-dir", "runs/other", code=2)
    assert "me/imettk-cells-prepare-s1 is there already" in capsys.readouterr().err
    assert not Path("runs/other/chain.json").exists()
    command(*CHAIN, "--run-dir", "runs/other", "--name", "cells-b")


def test_a_name_that_is_taken_during_the_upload_is_refused(box, capsys, monkeypatch):
    """Two chains that begin at once both find it free, and would overwrite each other's kernels."""
    upload, begun = begin.upload_pack, []

    def slow(*arguments, **options):
        found = upload(*arguments, **options)
        if not begun:
            begun.append(True)
            command(*CHAIN, "--run-dir", "runs/other", "--once")
        return found

    monkeypatch.setattr(begin, "upload_pack", slow)
    command(*CHAIN, code=2)
    assert "me/imettk-cells-prepare-s1 is there already" in capsys.readouterr().err
    assert all(len(versions) == 1 for versions in box.kernels.values()) and not (RUN / "chain.json").exists()


def test_a_preflight_that_says_nothing_is_not_believed(box, capsys):
    for seconds in ("x", -1.0, float("nan")):
        write_json(RUN / "preflight.json", {"recipe": "cells", "seconds_a_fold": seconds})
        command(*CHAIN, "--once")
        assert "what it takes is not known" in capsys.readouterr().out
        (RUN / "chain.json").unlink()
        box.wait()
        box.kernels.clear()


def test_several_recipes_are_a_queue(box, capsys, monkeypatch):
    monkeypatch.setattr(rounds, "LINE_SECONDS", -1.0)
    Path("other.py").write_text(MINE.format(name="Whales__2"))
    command("chain", "mine.py", "other.py", "--competition", "cells", "--folds", "0,1")
    assert all(read_chain(RUN / name).is_done("infer") for name in ("cells", "whales-2"))
    pushed = [request["slug"] for method, request in box.requests if method == "SaveKernel"]
    assert pushed.index("me/imettk-cells-f1-s1") < pushed.index("me/imettk-whales-2-f0-s1")
    capsys.readouterr()
    command("status")
    text = capsys.readouterr().out
    assert "cells: mine.py, folds 0, 1" in text and "whales-2: other.py, folds 0, 1" in text
    command("chain", "mine.py", "mine.py", "--competition", "cells", code=2)
    assert "need different names" in capsys.readouterr().err
    command("chain", "mine.py", "other.py", "--competition", "cells", "--name", "x", code=2)


def test_ctrl_c_tells_the_sessions_of_a_queue_apart():
    chains = [new_chain(name=name) for name in ("cells", "whales")]
    for chain in chains:
        chain.add("train", 0, [], gpu=True)
    text = platform_chain._tell_left(argparse.Namespace(words=["kaggle", "chain"]), chains, 0.0)
    assert "go on at Kaggle: cells f0-s1 not pushed yet, whales f0-s1 not pushed yet\n" in text


@pytest.fixture
def running(box, monkeypatch):
    """A chain whose training runs until it is cancelled, as cron has left it."""
    gate = threading.Event()

    def run(job: Job) -> str:
        if "-f" not in job.slug:
            return pretend(job)
        while not gate.wait(0.01):
            if job.cancel.is_set():
                return "CANCEL_ACKNOWLEDGED"
        return pretend(job)

    box._run_kernel = run
    command(*CHAIN, "--once", "--limit-hours", "9")
    for _ in range(100):
        command(*CHAIN, "--once", "--limit-hours", "9")
        state = read_chain(RUN)
        if any(job.place == "f0-s1" and job.seen == "RUNNING" for job in state.jobs):
            break
    yield box
    gate.set()


def test_a_log_has_a_line_with_all_that_people_wait_for(running, monkeypatch, capsys):
    monkeypatch.setattr(rounds, "LINE_SECONDS", -1.0)
    ahead, looks = running.date, [0]
    running.date = lambda: ahead() + 3 * 3600 + 12 * 60 + 30

    def sleep(seconds):
        looks[0] += 1
        if looks[0] > 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(client, "Patience", lambda: Patience(tries=6, sleep=sleep))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["kaggle", *CHAIN, "--limit-hours", "9"])
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if "RUNNING 3:12 h of 9:00 h" in line)
    assert line.split()[0].count(":") == 1 and " cells: f0-s1 RUNNING" in line
    assert "30.0 of 30.0 GPU hours left, renewed Sat 02 Jan 00:00" in line
    assert line.endswith("next: sessions of fold 0 until trained, then validate")
    words = "imettk kaggle chain mine.py --competition cells --limit-hours 9"
    assert f"`{words}` watches again" in said and f"`{words} --stop` deletes them" in said
    assert "these go on at Kaggle: f0-s1 RUNNING" in said


def test_a_terminal_of_80_columns_shows_all_of_it(running, monkeypatch):
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


def test_status_looks_at_the_platform_or_says_how_old_its_view_is(running, capsys):
    ahead = running.date
    running.date = lambda: ahead() + 3630
    command("status")
    text = capsys.readouterr().out
    assert "train fold 0    1 session   RUNNING 1:00 h of 9:00 h" in text and "30.0 of 30.0 GPU hours left" in text
    before = (RUN / "chain.json").read_bytes()
    running.faults.add("GetKernelSessionStatus", Fault(503), times=6)
    command("status")
    text = capsys.readouterr().out
    assert "as last seen:" in text and "RUNNING, seen " in text and (RUN / "chain.json").read_bytes() == before


def test_stop_says_what_it_deletes(running, capsys):
    command(*CHAIN, "--limit-hours", "9", "--stop")
    text = capsys.readouterr().out
    assert "deleting me/imettk-cells-f0-s1 and what this session has made" in text
    assert list(running.deleted) == ["me/imettk-cells-f0-s1"]
    assert f"`imettk kaggle {shlex.join([*CHAIN, '--limit-hours', '9'])}` goes on from what is kept" in text


def test_a_chain_that_has_stopped_is_not_said_to_end_some_day(running, capsys):
    Path(RUN / "preflight.json").unlink(missing_ok=True)
    state = read_chain(RUN)
    state.seconds_a_fold = 3600.0
    state.save(RUN)
    command("status")
    assert "trained about" in capsys.readouterr().out
    command(*CHAIN, "--limit-hours", "9", "--stop")
    command("status")
    assert "trained about" not in capsys.readouterr().out


def test_another_accounts_chain_is_left_alone(box, capsys, monkeypatch):
    """Its sessions are not shown to this account, and would be pushed anew."""
    once_until(box, "prepare-s1")
    before, kernels = (RUN / "chain.json").read_bytes(), len(box.kernels)
    monkeypatch.delenv("KAGGLE_KEY")
    monkeypatch.setenv("KAGGLE_API_TOKEN", box.add_token("b", "other"))
    for words in (CHAIN, (*CHAIN, "--stop")):
        command(*words, code=2)
        assert "runs/kaggle holds a chain of me, and this is other's account: sign in as me" in capsys.readouterr().err
    assert (RUN / "chain.json").read_bytes() == before and len(box.kernels) == kernels
    monkeypatch.setenv("KAGGLE_API_TOKEN", box.add_token("c", "Me"))
    command(*CHAIN)


def test_whoever_watches_says_when_he_ends(running, monkeypatch, told):
    """A key that is not taken may be put right while the chain looks again and again, but not for ever."""
    running.key = "another"
    monkeypatch.setattr(rounds, "UNCLEAR_SECONDS", 0.0)
    monkeypatch.setattr(rounds, "TELL_SECONDS", -1.0)
    command(*CHAIN, "--limit-hours", "9", code=1)
    assert "does not take these credentials (401)" in told[-1] and "kkkk" not in " ".join(told)


def test_a_failure_that_cannot_heal_is_told_with_its_line(box, capsys, told):
    box._run_kernel = failing({"-f0-": 1}, "user error")
    command(*CHAIN, code=1)
    assert "`lr` must be above 0 (correct it, and run the same command)" in capsys.readouterr().err
    assert "`lr` must be above 0" in told[-1]
    command(*CHAIN)


def test_an_earlier_versions_chain_goes_on(box):
    """It knows nothing of recipes, references and times of the platform."""
    once_until(box, "f0-s1")
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


def test_a_run_that_is_not_in_the_log_can_be_taken_into_the_same_one(tmp_path, capsys, monkeypatch):
    def busy(*_: object) -> None:
        raise UserError("log is in use")

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text(to_json(load_recipe("digits")))
    monkeypatch.setattr(runs, "import_runs", busy)
    platform_chain.take_into_log(tmp_path / "run")
    hint = capsys.readouterr().out.split("`")[1]
    monkeypatch.undo()
    main(shlex.split(hint)[1:])
    assert (tmp_path / "log").is_dir()


def test_a_rule_that_changes_while_it_is_fitted_waits_for_its_session(box, capsys):
    """Its session would count as one with the rule that is asked for now."""
    gate = threading.Event()
    box._run_kernel = lambda job: pretend(job) if "validate" not in job.slug or gate.wait(600) else "ERROR"
    for _ in range(100):
        command(*CHAIN, "--once")
        if read_chain(RUN).of("validate"):
            break
    capsys.readouterr()
    for _ in range(2):
        command(*CHAIN, "--once", "--rule.beta", "1", code=2)
        assert "its sessions still run, or may: wait for them" in capsys.readouterr().err
    gate.set()
    box.wait()
    command(*CHAIN, "--rule.beta", "1")  # that it has ended is found out by the same command
    state = read_chain(RUN)
    assert [len(state.of(*place)) for place in state.places] == [1, 3, 2, 1]
    assert "--rule.beta" in settings_of(box.kernels["me/imettk-cells-infer-s1"][0].request["text"])["ARGUMENTS"]


def test_a_push_that_is_not_clear_is_not_forgotten_by_a_change(box, capsys):
    """It may arrive, with the words of before."""
    box.faults.add("SaveKernel", Fault(503))
    command(*CHAIN, "--once")
    command(*CHAIN, "--once", "--folds.seed", "7", code=2)
    assert "or may: wait for them, or delete them with --stop first" in capsys.readouterr().err
    assert [job.sent for job in read_chain(RUN).jobs] == [True]
    command(*CHAIN, "--once", "--limit-hours", "6")  # which changes nothing that it makes
    command(*CHAIN, "--limit-hours", "6")
    assert len(box.kernels["me/imettk-cells-prepare-s1"]) == 1


def test_a_push_for_which_there_was_no_room_is_made_as_is_asked_later(box):
    box.max_cpu = 0
    command(*CHAIN, "--once")
    assert read_chain(RUN).jobs[0].note
    box.max_cpu = 5
    command(*CHAIN, "--once", "--folds.seed", "7")
    assert "--folds.seed" in settings_of(box.kernels["me/imettk-cells-prepare-s1"][0].request["text"])["ARGUMENTS"]


def test_other_versions_of_attached_data_are_told_apart(box, capsys, tmp_path):
    for name in ("data", "extra", "other"):
        for _ in range(2):
            box.add_dataset(f"me/{name}", tmp_path / "data")
    words = ("chain", "mine.py", "--dataset", "me/data/1", "--attach", "me/extra/1", "me/other/1")
    words += ("--model.weights", "input:extra")
    command(*words)
    command(*words[:3], "me/data/2", *words[4:], code=2)
    assert "begin another chain with --name NAME --run-dir DIR" in capsys.readouterr().err
    command(*words[:5], "me/extra/2", *words[6:], code=2)
    assert "its training cannot go on with another recipe" in capsys.readouterr().err
    command(*words[:6], "me/other/2", *words[7:])
    assert "to be made again: validate, infer" in capsys.readouterr().out
    state = read_chain(RUN)
    assert state.datasets[1:] == ["me/data/1", "me/extra/1", "me/other/2"]
    assert [len(state.of(*place)) for place in state.places] == [1, 3, 2, 2]


def test_a_new_name_must_be_free_too(box, capsys):
    box._run_kernel = lambda job: "ERROR"
    command(*CHAIN, "--name", "taken", "--run-dir", "runs/other", "--retries", "0", code=1)
    command(*CHAIN, "--retries", "0", code=1)
    command(*CHAIN, "--name", "taken", code=2)
    assert "me/imettk-taken-prepare-s1 is there already" in capsys.readouterr().err
    assert len(box.kernels["me/imettk-taken-prepare-s1"]) == 1 and read_chain(RUN).name == "cells"


def test_another_account_does_not_go_on_with_it(box, capsys):
    once_until(box, "prepare-s1")
    state, pushed = read_chain(RUN), len(box.kernels)
    state.owner = "you"
    state.save(RUN)
    for words in (CHAIN, (*CHAIN, "--stop")):
        command(*words, code=2)
        assert "a chain of you, and this is me" in capsys.readouterr().err
    assert len(box.kernels) == pushed


def test_a_stop_needs_no_recipe_and_says_what_it_could_not_stop(running, capsys):
    Path("mine.py").write_text("def recipe(:")
    running.faults.add("GetKernelSessionStatus", Fault(503), times=12)
    command(*CHAIN, "--stop", code=1)
    assert "not stopped yet: imettk-cells-f0-s1; the same command again" in capsys.readouterr().err
    command(*CHAIN, "--stop")
    assert list(running.deleted) == ["me/imettk-cells-f0-s1"]


def test_an_earlier_versions_chain_that_has_not_trained_is_packed_anew(box, capsys):
    """Nothing says which recipe it has packed."""
    box.max_gpu = 0
    once_until(box, "prepare-s1")
    path = RUN / "chain.json"
    content = json.loads(path.read_text())
    del content["described"]
    path.write_text(json.dumps(content))
    (RUN / "recipe.json").unlink()
    Path("mine.py").write_text(MINE.format(name="cells") + "# better\n")
    box.max_gpu = 2
    command(*CHAIN)
    assert read_chain(RUN).datasets == ["me/imettk-pack/2"]


@pytest.mark.parametrize("change", [(), ("--folds.seed", "7")])
def test_what_has_not_trained_is_packed_anew_when_it_goes_on(box, monkeypatch, change):
    """What runs is the imettk that is here, which may be another by now."""
    box._run_kernel = lambda job: "ERROR"
    command(*CHAIN, "--retries", "0", code=1)
    monkeypatch.setattr(packing, "_build_wheels", lambda out: (out / "later.txt").write_text("a later one"))
    box._run_kernel = pretend
    command(*CHAIN, *change)
    assert read_chain(RUN).is_done("infer") and read_chain(RUN).datasets == ["me/imettk-pack/2"]
