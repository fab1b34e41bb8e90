"""`imettk export` and `imettk import`: their options, and the functions that run them."""

from __future__ import annotations

import argparse
from pathlib import Path

from imettk.config import Recipe
from imettk.tracking.run_dir import RunDir


def add_export(export: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    export.add_argument("--out", type=Path, metavar="DIR", help="folder for the files (default: export in --run-dir)")
    export.add_argument(
        "--format", choices=("csv", "parquet"), default="csv", help="of the files (default: %(default)s)"
    )


def add_import(imported: argparse.ArgumentParser) -> None:
    """Add the options of `import`."""
    imported.add_argument(
        "--oof",
        type=Path,
        required=True,
        metavar="FILE",
        help="out-of-fold predictions, csv or parquet: columns id, fold, and one for each label",
    )
    imported.add_argument(
        "--test", type=Path, metavar="FILE", help="predictions of the test set: columns id, and one for each label"
    )


def _export(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.export import export

    export(recipe, run, out=arguments.out, file_format=arguments.format)


def _import(arguments: argparse.Namespace, recipe: Recipe, run: RunDir) -> None:
    from imettk.commands.import_predictions import import_predictions

    import_predictions(recipe, arguments.data, run, oof=arguments.oof, test=arguments.test)


RUNNERS = {"export": _export, "import": _import}
