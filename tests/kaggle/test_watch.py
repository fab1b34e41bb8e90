"""Used hours include sessions that left no output."""

from __future__ import annotations

import itertools

from pretended import failing

from imettk.kaggle.rounds import follow
from imettk.kaggle.watch import describe


def test_hours_of_sessions_without_output_count(begin):
    box, follower = begin(failing({"-f0-s1": 1}, "CANCEL_ACKNOWLEDGED"), folds=[0], limit_seconds=3600)
    times = itertools.count(1.8e9, 10)
    box.date = lambda: next(times)  # ten seconds per call
    follower.chain.expected_sessions, follower.chain.expected_hours = 6, 5.0
    follow([follower])[0]
    killed = follower.chain.of("train", 0)[0]
    assert 0 < killed.seconds < 3600
    killed.seconds = 1800.0
    assert "sessions 7 of 6 expected, GPU hours used 5.5 of 5.0 expected" in describe(follower.chain)
