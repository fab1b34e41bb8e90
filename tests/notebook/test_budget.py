"""A budget ends a training in time, and never after its session."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from imettk.config import SESSION_START
from imettk.errors import ConfigError
from imettk.notebook.budget import ON_KAGGLE, session_words
from imettk.recipes import load_recipe

RECIPE = load_recipe("digits")


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    for name in (SESSION_START, ON_KAGGLE):
        monkeypatch.delenv(name, raising=False)


def numbers(words):
    return {words[place]: float(words[place + 1]) for place in range(0, len(words), 2)}


def test_a_budget_is_the_limit_of_a_session_that_begins_now():
    words, environment = session_words(RECIPE, "90m")
    assert numbers(words) == {"--session.limit-seconds": 5400.0, "--session.margin-seconds": 300.0}
    assert float(environment[SESSION_START]) == pytest.approx(time.monotonic(), abs=5)
    words, _ = session_words(RECIPE, 100)  # less than the margin of a whole session
    assert numbers(words) == {"--session.limit-seconds": 100.0, "--session.margin-seconds": 10.0}


def test_no_budget_goes_beyond_the_session(monkeypatch):
    began = time.monotonic() - RECIPE.session.limit_seconds + 1000
    monkeypatch.setenv(SESSION_START, repr(began))
    assert numbers(session_words(RECIPE, "8h")[0])["--session.limit-seconds"] == pytest.approx(1000, abs=5)
    assert session_words(RECIPE, None) == ([], {SESSION_START: repr(began)})
    short = replace(RECIPE, session=replace(RECIPE.session, limit_seconds=500.0))
    with pytest.raises(ConfigError, match="are over: start a new session"):
        session_words(short, "1h")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells the age of a process")
def test_on_kaggle_the_session_began_with_the_process():
    code = (
        "import time; begun = time.monotonic(); time.sleep(0.5)\n"
        "from imettk.notebook.budget import _session_start; print(_session_start(time.monotonic()) - begun)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {ON_KAGGLE: "Batch"}, capture_output=True, text=True, check=True
    )
    assert -30 < float(done.stdout) <= 0.02  # before its first line, by the start of the interpreter


@pytest.mark.parametrize("budget", ["8", "h", "-1h", 0, -5, float("nan"), "eight hours", [8]])
def test_a_budget_that_is_none_is_refused(budget):
    with pytest.raises(ConfigError, match="`budget` must be like"):
        session_words(RECIPE, budget)
