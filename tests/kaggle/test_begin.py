"""A chain begins with a free name and a pack that the platform has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pretended import failing
from tiny import kaggle_command as command
from typed_chains import CHAIN, MINE, RUN

from imettk.kaggle import begin
from imettk.kaggle.chain_state import read_chain
from imettk.tracking.files import write_json

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_a_vanished_pack_is_uploaded_again(chain_box, capsys):
    """Its dataset was deleted and made again by another chain, so the pinned version is another pack."""
    chain_box._run_kernel = failing({"-f0-s2": 1}, "user error")
    command(*CHAIN, code=1)
    chain_box.datasets.clear()
    shutil.rmtree(chain_box.root / "datasets")
    Path("other.py").write_text(MINE.format(name="whales"))
    command("pack", "other.py", "--upload")
    capsys.readouterr()
    command(*CHAIN)
    assert "packed again" not in capsys.readouterr().out  # the same content with another version number
    state = read_chain(RUN)
    assert state.is_done("infer") and state.datasets == ["me/imettk-pack/2"]


def test_a_name_is_used_once(chain_box, capsys):
    command(*CHAIN)
    command(*CHAIN, "--run-dir", "runs/other", code=2)
    assert "me/imettk-cells-prepare-s1 exists already" in capsys.readouterr().err
    assert not Path("runs/other/chain.json").exists()
    command(*CHAIN, "--run-dir", "runs/other", "--name", "cells-b")


def test_a_name_that_another_chain_takes_during_the_upload_is_refused(chain_box, capsys, monkeypatch):
    """Two chains that begin at once both find the name free, and would overwrite each other's kernels."""
    upload, begun = begin.upload_pack, []

    def slow(*arguments, **options):
        pack = upload(*arguments, **options)
        if not begun:
            begun.append(True)
            command(*CHAIN, "--run-dir", "runs/other", "--once")
        return pack

    monkeypatch.setattr(begin, "upload_pack", slow)
    command(*CHAIN, code=2)
    assert "me/imettk-cells-prepare-s1 exists already" in capsys.readouterr().err
    assert all(len(versions) == 1 for versions in chain_box.kernels.values()) and not (RUN / "chain.json").exists()


def test_a_preflight_without_a_usable_duration_is_ignored(chain_box, capsys):
    for seconds in ("x", -1.0, float("nan")):
        write_json(RUN / "preflight.json", {"recipe": "cells", "seconds_a_fold": seconds})
        command(*CHAIN, "--once")
        assert "its cost is not known" in capsys.readouterr().out
        (RUN / "chain.json").unlink()
        chain_box.wait()
        chain_box.kernels.clear()


def test_a_new_name_must_be_free_too(chain_box, capsys):
    chain_box._run_kernel = lambda job: "ERROR"
    command(*CHAIN, "--name", "taken", "--run-dir", "runs/other", "--retries", "0", code=1)
    command(*CHAIN, "--retries", "0", code=1)
    command(*CHAIN, "--name", "taken", code=2)
    assert "me/imettk-taken-prepare-s1 exists already" in capsys.readouterr().err
    assert len(chain_box.kernels["me/imettk-taken-prepare-s1"]) == 1 and read_chain(RUN).name == "cells"
