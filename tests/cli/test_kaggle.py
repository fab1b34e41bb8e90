"""`imettk kaggle ...` as typed, against Kaggle in a box with sessions that only pretend to work."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from kaggle_box import Fault, Job, KaggleBox
from tiny import kaggle_command as command
from typed_chains import LOG

from imettk.cli.main import main
from imettk.config import to_json
from imettk.kaggle import account, versions
from imettk.kaggle.outputs import write_output_list
from imettk.recipes import load_recipe


def settings_of(text: str) -> dict[str, object]:
    """Return the constants of a kernel's text."""
    names = ("RECIPE", "COMPETITION", "ARGUMENTS", "PACK", "PUSH", "AFTER")
    constants: dict[str, object] = {}
    for line in text.splitlines():
        name = line.partition(" = ")[0].partition(":")[0]
        if name in names:
            constants[name] = json.loads(line.partition(" = ")[2].partition("  #")[0])
    return constants


def pretend(job: Job) -> str:
    settings = settings_of(job.text)
    (job.working / "recipe.json").write_text("{}")
    job.log.write_text("first line\nlast line\n")
    if "preflight" in job.slug:
        measured = {"recipe": "digits", "device": "cuda", "seconds_a_fold": 36000.0, "sessions_a_fold": 2}
        (job.working / "preflight.json").write_text(json.dumps(measured))
    if "infer" in job.slug:
        (job.working / "submission.csv").write_text("id,label\na,b\n")
    write_output_list(job.working, push=str(settings["PUSH"]), command="x", code=0, seconds=3.0)
    return "COMPLETE"


@pytest.fixture
def box(open_cells) -> KaggleBox:
    return open_cells(pretend)


def test_a_command_by_hand_from_pack_to_score(box, capsys):
    command("push", "prepare", "digits", "--competition", "cells", "--stages.0.num-epochs", "3")
    command(
        "push", "infer", "digits", "--competition", "cells", "--after", "me/imettk-digits-prepare", "--limit-hours", 2
    )
    box.wait()
    prepare, infer = (box.kernels[f"me/imettk-digits-{name}"][0] for name in ("prepare", "infer"))
    assert settings_of(prepare.request["text"])["ARGUMENTS"] == ["--stages.0.num-epochs", "3"]
    assert not prepare.job.gpu and infer.job.gpu and infer.request["sessionTimeoutSeconds"] == 7200
    constants = settings_of(infer.request["text"])
    assert constants["ARGUMENTS"] == ["--session.limit-seconds", "7200"]
    assert constants["AFTER"] == [settings_of(prepare.request["text"])["PUSH"]]
    assert len(box.datasets["me/imettk-pack"].versions) == 1  # the same pack is not uploaded again
    capsys.readouterr()
    command("status", "me/imettk-digits-infer")
    assert "version 1: COMPLETE" in capsys.readouterr().out
    command("pull", "me/imettk-digits-infer", "--out", "output")
    assert Path("output/submission.csv").read_text() == "id,label\na,b\n"
    assert "verified" in capsys.readouterr().out
    command("submit", "cells", "output/submission.csv")
    text = capsys.readouterr().out
    assert text.startswith("submission 1 to cells\n") and text.endswith("\npublic 0.75000, private 0.50000\n")
    command("submit", "cells", "--kernel", "me/imettk-digits-infer")
    command("submit", "cells", "--score", 2)
    assert len(box.submissions) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # MLflow's, about SQLAlchemy
def test_a_score_comes_into_the_log_of_its_run(box, empty_store, capsys):
    shutil.copytree(empty_store, LOG)
    run = Path("runs/one")
    run.mkdir(parents=True)
    (run / "recipe.json").write_text(to_json(load_recipe("digits")))
    Path("submission.csv").write_text("id,label\n")
    for _ in range(2):
        command("submit", "cells", "submission.csv", "--run-dir", run)
    fact = json.loads((run / "ledger.jsonl").read_text().splitlines()[-1])
    assert (fact["event"], fact["submission"], fact["public"], fact["private"]) == ("lb", 2, 0.75, 0.5)
    capsys.readouterr()
    main(["log"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "0.7500  0.5000" in lines[1]


def test_every_pack_is_one_version(box):
    Path("mine.py").write_text("from imettk.recipes.digits import digits as recipe\n")
    command("push", "prepare", "digits", "--competition", "cells")
    command("push", "prepare", "mine.py", "--competition", "cells", "--name", "mine")
    command("push", "prepare", "digits", "--competition", "cells", "--name", "third")
    requests = [box.kernels[f"me/imettk-{name}-prepare"][0].request for name in ("digits", "mine", "third")]
    assert [request["datasetDataSources"][0] for request in requests] == [
        f"me/imettk-pack/{version}" for version in (1, 2, 1)
    ]
    assert settings_of(requests[1]["text"])["RECIPE"] == "mine.py"
    packs = {settings_of(request["text"])["PACK"] for request in requests}
    assert len(packs) == 2


def test_each_session_of_a_fold_has_a_kernel_of_its_own(box):
    words = ["push", "train", "digits", "--competition", "cells", "--fold", 0]
    command(*words)
    first, second = "me/imettk-digits-train-f0", "me/imettk-digits-train-f0-next"
    for before, kernel in [(first, second), (second, first), (first, second)]:
        box.wait()
        command(*words, "--after", before)
        pushed = box.kernels[kernel][-1].request
        assert pushed["kernelDataSources"] == [before]
        assert settings_of(pushed["text"])["AFTER"] == [settings_of(box.kernels[before][-1].request["text"])["PUSH"]]


def test_a_kernel_that_was_pushed_elsewhere_is_recognised_by_its_push(box, capsys):
    """The push in its text identifies its output."""
    command("push", "prepare", "digits", "--competition", "cells", "--run-dir", "runs/other")
    box.wait()
    command("push", "infer", "digits", "--competition", "cells", "--after", "me/imettk-digits-prepare")
    assert "me/imettk-digits-prepare was not pushed from runs/kaggle: using version 1" in capsys.readouterr().out
    pushes = [settings_of(box.kernels[f"me/imettk-digits-{name}"][0].request["text"]) for name in ("prepare", "infer")]
    assert pushes[1]["AFTER"] == [pushes[0]["PUSH"]]


@pytest.mark.parametrize("writes", [0, 1])
def test_a_full_disk_never_leads_to_a_second_session(box, capsys, monkeypatch, writes):
    """If it shows before the push, nothing is pushed; if it comes afterwards, the command succeeds all the same."""
    write = account.write_json

    def full(path, content):
        nonlocal writes
        if writes == 0:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        writes -= 1
        write(path, content)

    monkeypatch.setattr(account, "write_json", full)
    words = ("push", "prepare", "digits", "--competition", "cells")
    if writes == 0:
        command(*words, code=1)
        assert "pushes.json: No space left" in capsys.readouterr().err and not box.kernels
        return
    command(*words)
    text = capsys.readouterr().out
    assert (
        "version 1 is pushed" in text and "pushes.json: No space left on device; the session runs all the same" in text
    )
    command("status", "me/imettk-digits-prepare")


def test_a_pack_that_is_being_processed_is_not_uploaded_again(box, monkeypatch):
    """A process that waits for it may be killed, and another one goes on waiting."""
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(versions, "wait_ready", lambda *_: 1 / 0)
        main(["kaggle", "pack", "--upload"])
    command("pack", "--upload")
    assert len(box.datasets["me/imettk-pack"].versions) == 1


def test_a_preflight_gives_a_chain_its_expectations(box, capsys):
    command("chain", "digits", "--competition", "cells", "--name", "unknown", "--run-dir", "runs/unknown", "--once")
    assert "unknown: its cost is not known; `imettk kaggle preflight` measures it" in capsys.readouterr().out
    command("preflight", "digits", "--competition", "cells")
    assert "a fold takes about 10.0 h on cuda" in capsys.readouterr().out
    kernel = box.kernels["me/imettk-digits-preflight"][0]
    assert kernel.job.gpu and '"preflight", RECIPE' in kernel.request["text"]
    command("chain", "digits", "--competition", "cells", "--folds", "0,1", "--once", "--limit-hours", 6)
    text = capsys.readouterr().out
    assert "digits: 7 sessions, 20.0 GPU hours expected" in text  # two sessions of six hours per fold, and three more
    assert "30.0 of 30.0 GPU hours left" in text and "of 20.0 expected" in text and "trained about" in text


def test_a_preflight_that_fails_shows_its_log(box, capsys):
    def fail(job: Job) -> str:
        job.log.write_text("first line\nlast line\n")
        return "ERROR"

    box._run_kernel = fail
    command("preflight", "digits", "--competition", "cells", code=1)
    output = capsys.readouterr()
    assert "  | last line" in output.out and "the preflight has failed" in output.err


def test_a_published_run_can_be_pushed_against(box, capsys):
    run = Path("runs/one")
    (run / "fold0").mkdir(parents=True)
    (run / "recipe.json").write_text(to_json(load_recipe("digits")))
    (run / "fold0" / "model.safetensors").write_bytes(b"weights")
    command("publish", run)
    assert "published as me/imettk-digits-models version 1" in capsys.readouterr().out
    names = sorted(path.name for path in box.datasets["me/imettk-digits-models"].versions[0].iterdir())
    assert names == ["imettk-run.json", "run--fold0--model.safetensors", "run--recipe.json"]
    command("push", "infer", "digits", "--competition", "cells", "--attach", "me/imettk-digits-models")
    assert box.kernels["me/imettk-digits-infer"][0].request["datasetDataSources"] == [
        "me/imettk-pack/1", "me/imettk-digits-models",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["push", "train", "digits"], 2, "where is the data?"),
        (["push", "train", "digits", "--dataset", "cells"], 2, "does not name a dataset: write OWNER/SLUG"),
        (["push", "train", "nothing", "--competition", "cells"], 2, "nothing"),
        (["push", "train", "digits", "--competition", "cells", "--stages.0.epochs", "3"], 2, "is not a field"),
        (["push", "train", "digits", "--competition", "other"], 1, "Kaggle does not know other"),
        (["push", "train", "digits", "--competition", "cells", "--after", "me/none"], 1, "look-up of me/none"),
        (["chain", "digits", "--competition", "cells", "--folds", "0,7"], 2, "--folds"),
        (["chain", "digits", "--competition", "cells", "--name", "Bad Name"], 2, "lower-case"),
        (["chain", "digits", "--competition", "cells", "--limit-hours", "13"], 2, "at most 12"),
        (["chain", "digits", "--competition", "cells", "--retries", "-1"], 2, "--retries: -1 must be at least 0"),
        (["chain", "digits", "--competition", "cells", "--at-once", "0"], 2, "--at-once: 0 must be at least 1"),
        (["chain", "digits", "--stop", "--competition", "cells"], 2, "no chain to stop"),
        (["status"], 2, "name a kernel"),
        (["status", "me/none"], 1, "look-up of me/none: Kaggle does not know it, or does not show it"),
        (["pull", "me/none/1", "--out", "x"], 1, "404"),
        (["submit", "cells", "none.csv"], 2, "none.csv is missing"),
        (["submit", "cells", "--score", "99", "--wait-minutes", "0"], 1, "is not listed"),
        (["publish", "nothing"], 2, "recipe.json is missing"),
        (["run-local", "train", "digits", "--data", "nowhere", "--run-dir", "r"], 2, "is not a folder"),
    ],
)
def test_mistakes_are_one_line(box, capsys, words, code, says):
    command(*words, code=code)
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("imettk: ")]
    assert len(lines) == 1 and says in lines[0] and "Traceback" not in error and "kkkk" not in error


def test_without_credentials_it_is_one_line(box, monkeypatch, imettk):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    done = imettk("kaggle", "status", "me/x/1", code=2, real=True)
    assert done.stderr.startswith("imettk: no Kaggle credentials") and done.stdout == ""


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_key_that_others_can_read_is_reported(box, monkeypatch, capsys):
    path = Path(os.environ["KAGGLE_CONFIG_DIR"], "kaggle.json")
    path.write_text(json.dumps({"username": os.environ["KAGGLE_USERNAME"], "key": os.environ["KAGGLE_KEY"]}))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name)
    for mode, is_reported in ((0o640, True), (0o604, True), (0o600, False)):
        path.chmod(mode)
        command("status", "me/no-such-kernel/1", code=1)
        line = f"warning: {path} contains a Kaggle key and can be read by others: chmod 600 {path}"
        assert (line in capsys.readouterr().out.splitlines()) is is_reported


def test_a_wrong_key_is_one_line(box, capsys):
    box.key = "another"
    command("status", "me/x/1", code=2)
    assert "does not accept these credentials (401)" in capsys.readouterr().err


def test_an_upload_that_lacks_a_file_is_refused(box, capsys):
    """After one rejected file the official command makes a version without it, and exits with code 0."""
    box.faults.add("PUT", Fault(400))
    command("pack", "--upload", code=1)
    assert "me/imettk-pack" not in box.datasets and "answers 400" in capsys.readouterr().err
