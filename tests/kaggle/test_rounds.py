"""Rounds of looks survive silence and full disks, and report them once."""

from __future__ import annotations

import errno

from chain_jobs import assert_once, waiting
from kaggle_box import Fault
from pretended import assert_finished, look_while, pretend

from imettk.kaggle import rounds
from imettk.kaggle.chain import Follower
from imettk.kaggle.chain_state import DONE, Chain, read_chain
from imettk.kaggle.rounds import follow


def test_a_day_without_an_answer_ends_only_the_watching(begin, tmp_path, monkeypatch):
    box, follower = begin(folds=[0])
    follower.look()
    box.faults.storm(seed=0, rate=1.0)
    monkeypatch.setattr(rounds, "UNCLEAR_SECONDS", 0.01)
    monkeypatch.setattr(rounds, "TELL_SECONDS", 0.0)
    messages = []
    end = follow([follower], messages.append)[0]
    assert end.startswith("not seen clearly for 0 hours (") and end.endswith("and the same command watches again")
    assert len(messages) == 1 and "cells: not seen clearly for 0 minutes" in messages[0]
    box.faults.storm(seed=0, rate=0)
    chain = read_chain(tmp_path / "run")
    assert chain is not None
    again = Follower(follower.kaggle, chain, tmp_path / "run")
    assert follow([again])[0] == DONE and len(chain.jobs) == 6


def test_a_full_disk_is_reported_and_survived(begin, monkeypatch):
    box, follower = begin(folds=[0], retries=0)
    monkeypatch.setattr(rounds, "TELL_SECONDS", -1.0)
    save, messages, left = Chain.save, [], [6]

    def full(chain, folder):
        if box.kernels and left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device", str(folder / "chain.json"))
        save(chain, folder)

    monkeypatch.setattr(Chain, "save", full)
    assert follow([follower], messages.append)[0] == DONE
    assert left == [0] and "chain.json: No space left on device" in messages[0] and "nothing lost" in messages[0]
    assert messages[1] == "cells: seen clearly again"
    assert_finished(box, follower, (0,))
    assert_once(box)


def test_an_outage_is_one_line_per_session_and_reported_again_the_next_time(begin, capsys):
    box, follower = begin(lambda job: waiting(job) if "-f" in job.slug else pretend(job))
    look_while(follower, lambda: sum(job.state == "running" for job in follower.chain.open_jobs) < 2)
    for expected in (2, 4):
        box.faults.add("GetKernelSessionStatus", Fault(503), times=6 * 2 * 3)
        for _ in range(4):
            follower.look()
        assert sum("looking again later" in line for line in capsys.readouterr().out.splitlines()) == 2, expected
