"""`imettk completion SHELL`: a script for the shell, which completes commands, options, fields, names and files."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "tcsh", "fish")
# Where a shell looks for the script by itself, if there is such a place.
EPILOG = (
    "bash: imettk completion bash > ~/.local/share/bash-completion/completions/imettk; "
    "zsh: into a file _imettk in a folder of $fpath; fish: > ~/.config/fish/completions/imettk.fish; "
    "tcsh: into a file that ~/.tcshrc sources. It holds for new shells."
)
FOLDERS = {"data", "folders", "inputs", "run_dir", "store"}  # options that take a folder, beside those of DIR


def add_completion(completion: argparse.ArgumentParser) -> None:
    """Add the argument of `completion`."""
    completion.epilog = EPILOG
    completion.add_argument("shell", choices=SHELLS, help="the shell that reads the script")


def completion_script(shell: str) -> str:
    """Return the script that completes `imettk` in a shell, from the parsers of the command line."""
    import shtab  # here, as the parser of each command line is made without it

    from imettk.cli.options import COMMANDS, make_parser

    parser = make_parser()
    recipe = _completes_recipe(shtab)
    for name, command in _commands(parser):
        if name in COMMANDS or command.get_default("takes_overrides"):
            _add_fields(command)
        for action in command._actions:
            if action.dest == "recipe":
                action.complete = recipe  # type: ignore[attr-defined]
            elif action.type is Path:
                is_folder = action.dest in FOLDERS or action.metavar in ("DIR", "RUN_DIR")
                action.complete = shtab.DIRECTORY if is_folder else shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the parser of each command and of each action below it, with its name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield name, command
                yield from _commands(command)


def _add_fields(command: argparse.ArgumentParser) -> None:
    """Add the fields of recipes as options of a command that takes them."""
    for option, choices in _fields().items():
        if option not in command._option_string_actions:  # `imettk kaggle chain` has its own --name
            command.add_argument(option, choices=choices or None, help="a field of the recipe")


@functools.cache
def _fields() -> dict[str, tuple[str, ...]]:
    """Return the options that set a field of a built-in recipe, each with the names that the field takes."""
    from imettk.config.fields import field_choices, field_names
    from imettk.metrics import METRICS
    from imettk.recipes import RECIPES
    from imettk.tasks import TASKS

    elsewhere: Mapping[str, Iterable[str]] = {"table.task": TASKS, "score.metric": METRICS}
    fields = {}
    for recipe in (make() for make in RECIPES.values()):  # some have more stages than others
        for name in field_names(recipe):
            if (option := f"--{name.replace('_', '-')}") not in fields:
                fields[option] = tuple(elsewhere.get(name, ())) or field_choices(recipe, name)
    return fields


def _completes_recipe(shtab: Any) -> dict[str, Any]:
    """Return shtab's description of an argument that is a built-in recipe, or a .py or .json file."""
    from imettk.recipes import RECIPES

    names, files = " ".join(RECIPES), shtab.glob("*.py", "*.json")
    # shtab's script for bash takes what a function prints for files, with a / after folders, if its name has "_glob".
    bash = f'_imettk_recipe_glob() {{\n  compgen -W "{names}" -- "$1"\n  {files["bash"]} "$1"\n}}'
    zsh = f"""_alternative 'recipes:recipe:({names})' 'files:file:_files -g "*.(py|json)"'"""
    return {
        "bash": "_imettk_recipe_glob",
        "zsh": "_imettk_recipe",
        "tcsh": files["tcsh"],  # either names or files
        "fish": f"{names} {files['fish']}",
        "preamble": {
            "bash": f"{files['preamble']['bash']}\n{bash}",
            "zsh": f"_imettk_recipe() {{\n  {zsh}\n}}",
            "fish": files["preamble"]["fish"],
        },
    }
