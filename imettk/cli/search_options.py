"""The options of `imettk try` and `imettk pseudo`, which train several runs. Nothing heavy is imported here."""

from __future__ import annotations

import argparse

from imettk.config import duration


def add_try(search: argparse.ArgumentParser) -> None:
    """Add the options of `try`."""
    search.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="FIELD=VALUE,VALUE",
        help="values of a field of the recipe; with several --vary, every combination is a candidate",
    )
    search.add_argument(
        "--halving",
        action="store_true",
        help="judge the candidates after a quarter and a half of their steps, and go on with the better half",
    )
    search.add_argument(
        "--budget", type=duration, metavar="TIME", help="stop in time, as in 90s, 45m or 6h (default: the session's)"
    )


def add_pseudo(pseudo: argparse.ArgumentParser) -> None:
    """Add the options of `pseudo`."""
    pseudo.add_argument(
        "--confidence",
        type=float,
        help="minimum confidence of a row; for regression, 1 minus the largest difference between folds, in standard "
        "deviations of the targets (default: 0.8; with --rounds chosen on out-of-fold rows)",
    )
    pseudo.add_argument(
        "--share", type=float, help="take this share of the rows of each label instead, the most confident ones"
    )
    pseudo.add_argument(
        "--power",
        type=float,
        help="raise probabilities to it, and normalise them again (default: 1; with --rounds chosen on out-of-fold "
        "rows)",
    )
    pseudo.add_argument("--hard", action="store_true", help="write answers as targets, instead of probabilities")
    pseudo.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="also train on these rows, and label again, up to N times, while it gains; run it again to continue",
    )
    pseudo.add_argument(
        "--weight",
        type=float,
        metavar="W",
        help="with --rounds: how often each pseudo-labelled row comes in an epoch (default: 1, less where these rows "
        "would outnumber the table's)",
    )
