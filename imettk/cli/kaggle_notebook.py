"""`imettk kaggle notebook`: parsed arguments turned into two notebooks for people to fork."""

from __future__ import annotations

import argparse
import shlex

from imettk.cli.kaggle_checks import (
    check_inputs,
    checked_recipe,
    chosen_machine,
    folds_of,
    models_in,
    packed_recipe,
)
from imettk.progress import say
from imettk.recipes import load_recipe


def write_notebook(arguments: argparse.Namespace) -> int:
    """Write `train.ipynb` and `infer.ipynb`, and print what comes next."""
    from imettk.kaggle.notebooks import Draft, knobs_of, write_notebooks
    from imettk.kaggle.sources import Sources

    recipe, machine = checked_recipe(arguments), chosen_machine(arguments)
    sources = Sources(arguments.competition, arguments.dataset, arguments.attach)
    check_inputs(recipe, [*sources.datasets, *sources.competitions])
    draft = Draft(
        recipe=packed_recipe(arguments),
        name=recipe.name,
        competition=sources.folder,
        sources=[
            *(("competition", slug) for slug in sources.competitions),
            *(("dataset", reference) for reference in sources.datasets),
            *(("model", source) for source in models_in(recipe)),
        ],
        knobs=knobs_of(recipe, load_recipe(arguments.recipe)),
        folds=folds_of(arguments.folds, recipe),
        owner=arguments.owner,
        machine=machine,
    )
    paths = write_notebooks(arguments.out, draft)
    own = [arguments.recipe] if arguments.recipe.endswith(".py") else []
    local = ["run-local", str(paths[0]), arguments.recipe, "--data", "DIR", "--run-dir", "DIR"]
    say(f"{' and '.join(map(str, paths))} are written; next:")
    say(f"  {shlex.join(['imettk', 'kaggle', *local])}   # try it here")
    say(f"  {shlex.join(['imettk', 'kaggle', 'pack', *own, '--upload'])}   # both attach it; make it public for others")
    say("  kaggle.com/code: New Notebook, File, Import Notebook")
    return 0
