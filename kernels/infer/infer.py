"""Predict the test set with the trained folds, offline, and write a checked submission.csv."""

import os
import sys
import time
from pathlib import Path

STARTED = time.monotonic()  # the session's clock starts here

RECIPE = "digits"  # a built-in recipe, or the name of a .py file in the pack
COMPETITION = "imettk-digits"  # the folder with the data, a competition or a dataset
ARGUMENTS: list[str] = []  # options of `imettk infer`
PACK = ""  # the hash that `imettk kaggle pack` prints; "" accepts any pack
PUSH = ""  # the push that wrote this text, repeated in its output
AFTER: list[str] = []  # the pushes whose outputs are inputs; empty for every output that is attached

ROOT = Path(os.environ.get("IMETTK_KAGGLE_ROOT", "/kaggle"))
MANIFEST = "imettk-pack.json"
manifests = sorted([*ROOT.glob(f"input/*/{MANIFEST}"), *ROOT.glob(f"input/datasets/*/*/{MANIFEST}")])
if len(manifests) != 1:
    sys.exit(f"imettk: {len(manifests)} packs under {ROOT / 'input'}: attach the dataset imettk-pack, once")
pack = manifests[0].parent
# The platform may unpack the zip, into a folder with the archive's name or without one.
code = next(
    path for path in (pack / "imettk.zip", pack / "imettk", pack) if path.is_file() or (path / "imettk").is_dir()
)
sys.path.insert(0, str(code))

from imettk.kaggle.environment import Order, run_stage  # noqa: E402 (on the path only now)

order = Order("infer", RECIPE, COMPETITION, ARGUMENTS, PACK, PUSH, AFTER)
sys.exit(run_stage(order, root=ROOT, pack=pack, code=code, started=STARTED))
