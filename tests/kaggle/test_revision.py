"""Changes since a chain began are applied, have outputs made again, or are refused in one line."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from kaggle_box import Fault
from pretended import pretend, settings_of
from tiny import kaggle_command as command
from typed_chains import CHAIN, MINE, RUN, once_until

from imettk.kaggle import pack as packing
from imettk.kaggle.chain_state import read_chain

# MLflow's, about SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_a_recipe_that_is_edited_before_it_has_trained_is_packed_again(chain_box, capsys):
    chain_box.max_gpu = 0  # so that nothing begins to train
    once_until(chain_box, "prepare-s1")
    chain_box.max_gpu = 2
    Path("mine.py").write_text(MINE.format(name="cells") + "# better\n")
    capsys.readouterr()
    command(*CHAIN)
    text = capsys.readouterr().out
    assert "cells: from here on source_sha256" in text and "packed again, from here on me/imettk-pack/2" in text
    state = read_chain(RUN)
    assert state is not None and len(state.of("prepare")) == 1 and state.datasets == ["me/imettk-pack/2"]
    sent = [chain_box.kernels[f"me/{job.slug}"][0] for job in state.jobs if f"me/{job.slug}" in chain_box.kernels]
    versions = [version.request["datasetDataSources"] for version in sent]
    assert ["me/imettk-pack/1"] in versions and versions[-1] == ["me/imettk-pack/2"]
    assert settings_of(sent[-1].request["text"])["PACK"] == state.pack


def test_changed_folds_are_prepared_again(chain_box, capsys):
    chain_box.max_gpu = 0
    once_until(chain_box, "prepare-s1")
    chain_box.max_gpu = 2
    command(*CHAIN, "--folds.seed", "7")
    assert "cells: will be made again: prepare\n" in capsys.readouterr().out
    state = read_chain(RUN)
    assert [job.state for job in state.of("prepare")] == ["failed, tried again", "done"]
    first = chain_box.kernels["me/imettk-cells-f0-s1"][0]
    assert first.request["kernelDataSources"] == ["me/imettk-cells-prepare-s2"]


def test_a_recipe_that_is_edited_while_it_trains_is_refused(chain_box, capsys):
    """Its checkpoints belong to the older file, which is still on the platform."""
    once_until(chain_box, "f0-s1")
    before = Path("mine.py").read_text()
    Path("mine.py").write_text(before + "# better\n")
    kernels = len(chain_box.kernels)
    capsys.readouterr()
    for words in (CHAIN, (*CHAIN, "--once")):
        command(*words, code=2)
        line = capsys.readouterr().err
        assert "its training cannot go on with another recipe: undo the change" in line
        assert "(dataset me/imettk-pack/1 has the file as it was)" in line
        assert "--name NAME --run-dir DIR" in line and "source_sha256" in line
    assert len(chain_box.kernels) == kernels
    Path("mine.py").write_text(before)
    command(*CHAIN)


def test_a_change_that_affects_no_weights_is_applied_at_once(chain_box, capsys):
    command(*CHAIN)
    capsys.readouterr()
    command(*CHAIN, "--rule.beta", "1", "--limit-hours", "6")
    text = capsys.readouterr().out
    assert "cells: from here on rule.beta: 2.0 -> 1.0" in text and "cells: will be made again: validate, infer" in text
    state = read_chain(RUN)
    assert state is not None
    assert [len(state.of(*place)) for place in state.places] == [1, 3, 2, 2]
    last = chain_box.kernels["me/imettk-cells-infer-s2"][0]
    assert "--rule.beta" in settings_of(last.request["text"])["ARGUMENTS"]
    assert last.request["sessionTimeoutSeconds"] == 6 * 3600
    command(*CHAIN, "--rule.beta", "1", "--folds", "0,1")  # another fold
    state = read_chain(RUN)
    assert state is not None and [len(state.of(*place)) for place in state.places] == [1, 3, 3, 3, 3]


def test_a_wrong_competition_is_corrected_in_the_same_folder(chain_box, capsys, messages):
    command("chain", "mine.py", "--competition", "cell", code=1)
    line = capsys.readouterr().err
    assert "accept its rules first: kaggle.com/c/cell/rules" in line
    assert len(read_chain(RUN).jobs) == 1 and "does not know cell" in messages[-1]
    command(*CHAIN)
    assert read_chain(RUN).is_done("infer")


def test_other_data_is_another_chain(chain_box, capsys):
    once_until(chain_box, "prepare-s1")
    command("chain", "mine.py", "--competition", "whales", code=2)
    assert "competition: 'cells' -> 'whales'" in capsys.readouterr().err


def test_a_rule_cannot_change_while_its_session_runs(chain_box, capsys):
    """The session's output would count as made with the new rule."""
    gate = threading.Event()
    chain_box._run_kernel = lambda job: pretend(job) if "validate" not in job.slug or gate.wait(600) else "ERROR"
    for _ in range(100):
        command(*CHAIN, "--once")
        if read_chain(RUN).of("validate"):
            break
    capsys.readouterr()
    for _ in range(2):
        command(*CHAIN, "--once", "--rule.beta", "1", code=2)
        assert "its sessions still run, or may: wait for them" in capsys.readouterr().err
    gate.set()
    chain_box.wait()
    command(*CHAIN, "--rule.beta", "1")  # the same command finds out that the session has ended
    state = read_chain(RUN)
    assert [len(state.of(*place)) for place in state.places] == [1, 3, 2, 1]
    assert "--rule.beta" in settings_of(chain_box.kernels["me/imettk-cells-infer-s1"][0].request["text"])["ARGUMENTS"]


def test_an_unclear_push_is_not_forgotten_after_a_change(chain_box, capsys):
    """It may still arrive, with the old options."""
    chain_box.faults.add("SaveKernel", Fault(503))
    command(*CHAIN, "--once")
    command(*CHAIN, "--once", "--folds.seed", "7", code=2)
    assert "or may: wait for them, or delete them with --stop first" in capsys.readouterr().err
    assert [job.sent for job in read_chain(RUN).jobs] == [True]
    command(*CHAIN, "--once", "--limit-hours", "6")  # this does not change its output
    command(*CHAIN, "--limit-hours", "6")
    assert len(chain_box.kernels["me/imettk-cells-prepare-s1"]) == 1


def test_a_push_that_waited_for_room_gets_the_newer_options(chain_box):
    chain_box.max_cpu = 0
    command(*CHAIN, "--once")
    assert read_chain(RUN).jobs[0].note
    chain_box.max_cpu = 5
    command(*CHAIN, "--once", "--folds.seed", "7")
    assert (
        "--folds.seed" in settings_of(chain_box.kernels["me/imettk-cells-prepare-s1"][0].request["text"])["ARGUMENTS"]
    )


def test_versions_of_attached_data_are_told_apart(chain_box, capsys, tmp_path):
    for name in ("data", "extra", "other"):
        for _ in range(2):
            chain_box.add_dataset(f"me/{name}", tmp_path / "data")
    words = ("chain", "mine.py", "--dataset", "me/data/1", "--attach", "me/extra/1", "me/other/1")
    words += ("--model.weights", "input:extra")
    command(*words)
    command(*words[:3], "me/data/2", *words[4:], code=2)
    assert "begin another chain with --name NAME --run-dir DIR" in capsys.readouterr().err
    command(*words[:5], "me/extra/2", *words[6:], code=2)
    assert "its training cannot go on with another recipe" in capsys.readouterr().err
    command(*words[:6], "me/other/2", *words[7:])
    assert "will be made again: validate, infer" in capsys.readouterr().out
    state = read_chain(RUN)
    assert state.datasets[1:] == ["me/data/1", "me/extra/1", "me/other/2"]
    assert [len(state.of(*place)) for place in state.places] == [1, 3, 2, 2]


def test_a_chain_of_an_earlier_version_that_has_not_trained_is_packed_again(chain_box, capsys):
    """It did not record the recipe that it has packed."""
    chain_box.max_gpu = 0
    once_until(chain_box, "prepare-s1")
    path = RUN / "chain.json"
    content = json.loads(path.read_text())
    del content["described"]
    path.write_text(json.dumps(content))
    (RUN / "recipe.json").unlink()
    Path("mine.py").write_text(MINE.format(name="cells") + "# better\n")
    chain_box.max_gpu = 2
    command(*CHAIN)
    assert read_chain(RUN).datasets == ["me/imettk-pack/2"]


@pytest.mark.parametrize("change", [(), ("--folds.seed", "7")])
def test_a_stopped_chain_that_has_not_trained_is_packed_again(chain_box, monkeypatch, change):
    """It then runs the imettk that is installed here, which may be newer by now."""
    chain_box._run_kernel = lambda job: "ERROR"
    command(*CHAIN, "--retries", "0", code=1)
    monkeypatch.setattr(packing, "_build_wheels", lambda out, names: (out / "later.txt").write_text("a later one"))
    chain_box._run_kernel = pretend
    command(*CHAIN, *change)
    assert read_chain(RUN).is_done("infer") and read_chain(RUN).datasets == ["me/imettk-pack/2"]
