"""`imettk completion`: shells really complete commands, options, fields, built-in recipes and files."""

import os
import re
import shutil

import pexpect
import pytest
from tiny import code_of, run

from imettk.cli.completion import SHELLS, completion_script

START = {
    "bash": ("bash --norc --noprofile -i", "source {script}"),
    "zsh": ("zsh -f -i", "fpath=({folder} $fpath); autoload -U compinit; compinit -u -d {folder}/dump"),
}
COMPLETED = {
    "imettk valid": "imettk validate ",
    "imettk train mi": "imettk train mine.py ",
    "imettk train imet2019-": "imettk train imet2019-freezing ",
    "imettk train digits --run": "imettk train digits --run-dir ",
    "imettk train digits --stages.0.num-e": "imettk train digits --stages.0.num-epochs ",
    "imettk train digits --train.loss arc": "imettk train digits --train.loss arcface ",
    "imettk train digits --score.metric quad": "imettk train digits --score.metric quadratic_kappa ",
    "imettk infer --answers not": "imettk infer --answers notes.txt ",
    "imettk train --data ph": "imettk train --data photos/",
    "imettk kaggle chain mi": "imettk kaggle chain mine.py ",
    "imettk kaggle push trai": "imettk kaggle push train ",
    "imettk completion z": "imettk completion zsh ",
}
# A text file is no recipe, and a file no folder. zsh offers such files if there is nothing else.
LEFT_ALONE = {"bash": ("imettk train not", "imettk train --data mi"), "zsh": ()}


@pytest.mark.parametrize("shell", START)
def test_a_shell_completes_commands_fields_names_and_files(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "photos").mkdir()
    for name in ("mine.py", "notes.txt"):
        (tmp_path / name).touch()
    script = tmp_path / "photos" / "_imettk"
    script.write_text(completion_script(shell))
    command, source = START[shell]
    environment = {**os.environ, "TERM": "dumb", "HOME": str(tmp_path), "INPUTRC": os.devnull}
    terminal = pexpect.spawn(command, cwd=tmp_path, env=environment, encoding="utf-8", dimensions=(50, 300), timeout=60)
    terminal.sendline(source.format(script=script, folder=script.parent) + "; PS1='> '; echo rea''dy")
    terminal.expect("ready")
    for typed, line in {**COMPLETED, **{typed: typed for typed in LEFT_ALONE[shell]}}.items():
        terminal.expect_exact("> ")
        terminal.send(f"{typed}\t#end")
        terminal.expect(re.escape(line) + r"[\a\b /]*#end")  # a bell if there is nothing; zsh prints " \b" first
        terminal.sendintr()
    terminal.close(force=True)


@pytest.mark.parametrize("shell", sorted({*SHELLS} - {*START}))
def test_other_shells_have_a_script_with_the_same_words(shell):
    script = completion_script(shell)
    for word in (".json", "stages.0.num-epochs", "arcface", "run-local", "quadratic_kappa"):
        assert word in script, word


def test_the_command_prints_the_script_and_knows_its_shells(capsys):
    run("completion", "bash")
    assert capsys.readouterr().out == completion_script("bash") + "\n"
    assert code_of("completion", "cmd") == 2
    assert "invalid choice: 'cmd'" in capsys.readouterr().err
