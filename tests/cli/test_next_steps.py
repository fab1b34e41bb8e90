"""The command that follows another, by what was typed and by what lies in the run folder.

The whole story of a competition, each command as the one before has printed it, is in tests/test_readme.py.
"""

from __future__ import annotations

from pathlib import Path

import pages
import pytest

from imettk.cli.next_steps import NEXT, Ended, after_weights, tell_next
from imettk.cli.options import make_parser, split_overrides
from imettk.config import Recipe
from imettk.config.overrides import apply_overrides
from imettk.recipes import load_recipe
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import save_tensors

SEVERAL = [f"r/fold{fold}/model.safetensors" for fold in range(3)]
SUBMIT = (
    "submit {0}/submission.csv on the competition's page, or with `imettk kaggle submit COMPETITION "
    "{0}/submission.csv --run-dir {0}`"
)
CHAIN = 'r/chain.json={"competitions": ["cells"]}'
MEASURED = 'r/preflight.json={"device": "cpu", "seconds_a_fold": 80000.0}'
COPIES = "r/duplicates.csv=id_a,id_b,same\na,b,True\n"


def ended(line: str) -> Ended:
    """Return a command line as one that has ended."""
    words = line.split()
    command, overrides = split_overrides(words)
    arguments = make_parser().parse_args(command)
    arguments.words = words
    recipe: Recipe = apply_overrides(load_recipe(arguments.recipe or "digits"), overrides)
    return Ended(arguments, overrides, recipe, RunDir(arguments.run_dir, arguments.inputs))


def lay(files: list[str]) -> None:
    """Make files here, given as `name` or as `name=content`."""
    for file in files:
        name, _, content = file.partition("=")
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content)


@pytest.mark.parametrize(
    ("files", "line", "following"),
    [
        (
            ["r/table.json"],
            "prepare digits --run-dir r --data d --fold 0 --images.image-size 32 32",
            "imettk train digits --run-dir r --data d --images.image-size 32 32",
        ),
        (
            ["a/scores.json", "a/recipe.json"],
            "import digits --inputs a --run-dir r --data d --oof oof.csv",
            "imettk ensemble --members a r --data d --run-dir r-ensemble",
        ),
        (
            [],
            "import digits --run-dir r --oof oof.csv",
            "open r/report.html in a browser",
        ),
        (
            [],
            "prepare digits --show-augmentation flips --run-dir=r",
            "imettk prepare digits --run-dir r",
        ),
        (  # paused, in one fold or in the first of all
            [],
            "train digits --run-dir r --fold 1 --processes 2 --train.seed 1",
            "imettk train digits --run-dir r --fold 1 --processes 2 --train.seed 1",
        ),
        (SEVERAL[:2], "train --run-dir r", "imettk train --run-dir r"),
        (
            [SEVERAL[1]],
            "train --fold 1 --run-dir r --inputs a b --pseudo p --pseudo-weight 0.5 --processes 2",
            "imettk train --run-dir r --inputs a b --pseudo p --pseudo-weight 0.5 --processes 2 --fold 0",
        ),
        (  # an input has the model of another training
            ["a/fold0/model.safetensors"],
            "train --fold 0 --run-dir r --resume weights --inputs a",
            "imettk train --fold 0 --run-dir r --resume weights --inputs a",
        ),
        (
            ["a/fold0/model.safetensors"],
            "train --fold 0 --run-dir r --inputs a",
            "imettk train --run-dir r --inputs a --fold 1",
        ),
        (SEVERAL, "train --fold 2 --run-dir r --processes 2", "imettk validate --run-dir r"),
        (SEVERAL, "train --run-dir r --folds.scheme none", "imettk infer --run-dir r --folds.scheme none"),
        ([], "train --dry-run --run-dir r --fold 2", "imettk train --run-dir r --fold 2"),
        ([*SEVERAL, "d/sample_submission.csv"], "validate --run-dir r --data d", "imettk infer --run-dir r --data d"),
        (
            [SEVERAL[0], "data/sample_submission.csv"],
            "validate --run-dir r --fold 0",
            "imettk infer --run-dir r --fold 0",
        ),
        (SEVERAL[:1], "validate --run-dir r", "imettk train --run-dir r --fold 1"),
        (SEVERAL, "validate --run-dir r", "open r/report.html in a browser"),
        ([], "infer --run-dir r", SUBMIT.format("r")),
        ([CHAIN], "infer --run-dir r", "imettk kaggle submit cells r/submission.csv --run-dir r"),
        (
            [CHAIN, 'r/ledger.jsonl={"event": "lb", "competition": "whales", "public": 0.5}\n'],
            "infer --run-dir r",
            "imettk kaggle submit whales r/submission.csv --run-dir r",
        ),
        (["r/chain.json=damaged"], "infer --run-dir r", SUBMIT.format("r")),
        ([], "infer --run-dir r --answers a.csv", "open r/report.html in a browser"),
        ([], "infer --run-dir r --images a.png", None),
        (
            ["a/fold0/test.safetensors"],
            "ensemble --members a b --data d --run-dir r",
            "imettk infer --data d --run-dir b",
        ),
        (
            ["a/fold0/test.safetensors", "b/fold1/test.safetensors", "r/submission.csv"],
            "ensemble --members a b --run-dir r",
            SUBMIT.format("r"),
        ),
        (
            ["a/fold0/test.safetensors"],
            "neighbours --classifier a --features b --run-dir r",
            "imettk infer --run-dir b",
        ),
        (
            ['r/soup.json={"is_made": true}'],
            "soup --members a b --run-dir r --data d",
            "imettk validate --run-dir r --data d",
        ),
        (
            ['r/soup.json={"is_made": false}'],
            "soup --members a b --run-dir r",
            "imettk ensemble --members a b --run-dir r-ensemble",
        ),
        (
            ["r-pseudo/recipe.json"],
            "pseudo --run-dir r --data d --share 0.1",
            "imettk prepare r/recipe.json --data d --run-dir r-pseudo2 --pseudo r",
        ),
        (
            [COPIES],
            "duplicates digits --run-dir r --limit 8",
            "imettk duplicates digits --run-dir r --limit 8 --action group",
        ),
        ([COPIES], "duplicates digits --run-dir r --action group answer", "imettk prepare digits --run-dir r"),
        (["r/table.json", COPIES], "duplicates digits --run-dir r --action answer", "imettk train digits --run-dir r"),
        (["r/duplicates.csv=same\nFalse\n"], "duplicates digits --run-dir r", "imettk prepare digits --run-dir r"),
        (
            [MEASURED],
            "preflight digits --data d --run-dir r --train.seed 1",
            "imettk kaggle chain digits --competition SLUG --train.seed 1 --folds 0,1,2",
        ),
        (
            [MEASURED],  # a chain would train without the pseudo labels
            "preflight digits --run-dir r --pseudo p",
            "imettk prepare digits --run-dir r --pseudo p",
        ),
        ([MEASURED.replace("80000", "60")], "preflight digits --run-dir r", "imettk prepare digits --run-dir r"),
    ],
)  # fmt: skip
def test_the_next_command_fits_what_was_typed_and_done(tmp_path, monkeypatch, files, line, following):
    monkeypatch.chdir(tmp_path)
    for folder in ("r", "a", "b"):
        Path(folder).mkdir()
    lay(files)
    shown = NEXT[line.split()[0]](ended(line))
    assert shown == following
    if shown is not None and shown.startswith("imettk"):
        pages.understand(shown)


def test_a_run_of_another_tool_is_neither_trained_nor_inferred(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("r", "a"):
        (tmp_path / name / "fold0").mkdir(parents=True)
        save_tensors(Path(name, "fold0", "oof.safetensors"), {}, {"imported": "oof.csv"})
    assert NEXT["validate"](ended("validate --run-dir r")) == "open r/report.html in a browser"
    assert NEXT["ensemble"](ended("ensemble --members a --run-dir b")) is None


def test_a_folder_beside_the_one_here_has_its_name(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    shown = NEXT["pseudo"](ended("pseudo digits --run-dir ."))
    assert shown == f"imettk prepare digits --run-dir {tmp_path}/mine-pseudo --pseudo ."


def test_a_path_with_a_space_can_be_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ended("train digits --data d")
    command.arguments.data = Path("my data")
    command.arguments.words[3] = "my data"
    assert command.repeated() == "imettk train digits --data 'my data'"
    assert command.followed_by("validate") == "imettk validate digits --data 'my data'"
    pages.understand(after_weights(Path("my weights")))


def test_the_line_is_left_out_where_nobody_would_follow_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tell_next(ended("train digits"))
    assert capsys.readouterr().out == "next: imettk train digits\n"
    for name, value in (("IMETTK_SESSION_START", "1.5"), ("WORLD_SIZE", "2"), ("IMETTK_HINTS", "0")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            tell_next(ended("train digits"))
            assert capsys.readouterr().out == ""


def test_a_fault_in_the_line_fails_no_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tell_next(ended("duplicates digits"))
    assert capsys.readouterr().out.startswith("note: the next command is not known: FileNotFoundError: ")


def test_every_command_has_a_row():
    from imettk.cli.main import RUNNERS

    assert NEXT.keys() == RUNNERS.keys()
