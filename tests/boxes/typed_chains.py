"""A chain as typed, and its looks as cron makes them."""

from __future__ import annotations

from pathlib import Path

from kaggle_box import KaggleBox
from tiny import kaggle_command as command

from imettk.kaggle.chain_state import read_chain

MINE = """
from dataclasses import replace
from imettk.recipes.digits import digits

def recipe():
    return replace(digits(), name="{name}")
"""
RUN = Path("runs/kaggle")
LOG = RUN.parent / "log"
CHAIN = ("chain", "mine.py", "--competition", "cells")


def once_until(chain_box: KaggleBox, place: str, *words: object) -> None:
    """Look as cron does until the session at this place is settled."""
    for _ in range(100):
        command(*(words or CHAIN), "--once")
        chain_box.wait()
        state = read_chain(RUN)
        assert state is not None
        if any(job.place == place and job.has_output for job in state.jobs):
            return
    raise AssertionError(place)
