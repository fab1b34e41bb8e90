"""Notebooks that people fork: one trains and continues from its own attached output, one infers offline."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imettk.config import Recipe
from imettk.config.fields import leaves
from imettk.errors import DataError
from imettk.files import write_atomically
from imettk.kaggle.cells import SUFFIX, code_cell, literal, markdown_cell, to_notebook
from imettk.kaggle.kernel import FIND_PACK, GPU, settings_text
from imettk.kaggle.mounts import INPUT, MODEL
from imettk.kaggle.pack import DATASET

# The fields that people change first; those of stages stand for every stage.
KNOBS = {
    "model.backbone": "the network",
    "images.image_size": "height and width in pixels",
    "stages.num_epochs": "passes over the training images",
    "stages.batch_size": "images a step, over all GPUs",
    "stages.lr": "learning rate, one for each layer group",
    "train.seed": "start of all random numbers",
    "predict.views": "views of each test image, whose predictions are averaged",
    "session.limit_seconds": "the session's limit, less five minutes for saving",
}
REMARKS = {"competition": " (accept its rules first)"}
_TRAIN = """
# {name}: training

Trains the recipe `{recipe}` with imettk for as long as the session lasts, and goes on exactly there in the next one:
the weights come out with the same bits as without a pause.

**Fork it** (*Copy & Edit*), then:

1. *Add Input*: {inputs}.
2. *Session options*: accelerator {accelerator}, internet off.
3. *Save Version*, *Save & Run All*.
4. Did the session pause? *Add Input* again: this notebook's own output (under *Your Work*), as the output of its last
   version, and save a new version. If Kaggle does not offer a notebook its own output, *Copy & Edit* it, and add the
   output of the one before.

When all folds are done, the output holds the models, out-of-fold predictions and scores. The notebook `infer` makes
the submission from it.
"""
_INFER = """
# {name}: submission

Predicts the test set with the models that the notebook `train` has left, and writes `submission.csv`. It needs no
internet, and answers whatever test set is there: in a code competition, the hidden one.

**Fork it** (*Copy & Edit*), then:

1. *Add Input*: {inputs}; and the outputs of the training notebooks, or a dataset of `imettk kaggle publish`.
2. *Session options*: accelerator {accelerator}, internet off.
3. *Save Version*, *Save & Run All*, and *Submit to Competition*.
"""
_OPEN = """
from imettk.kaggle.environment import Order, open_session  # noqa: E402 (on the path only now)

order = Order("{command}", RECIPE, COMPETITION)
session = open_session(order, root=ROOT, pack=pack, code=code, started=STARTED)
"""
_MESSAGES = """
## Messages

imettk can write to you on Telegram when a fold begins, pauses, ends or fails. It is off. To turn it on:

1. Ask Telegram's @BotFather for a bot, and write to the bot once.
2. *Add-ons*, *Secrets*: add `IMETTK_TELEGRAM_TOKEN` (the bot's token) and `IMETTK_TELEGRAM_CHAT` (the chat's number),
   and attach both. **Never write a token into a cell**: whoever reads the notebook could use it.
3. Turn internet on, and set `MESSAGES = True`. Secrets are not copied to a fork: each user attaches their own.
"""
_SECRETS = """
MESSAGES = False

if MESSAGES:
    from kaggle_secrets import UserSecretsClient

    for name in ("IMETTK_TELEGRAM_TOKEN", "IMETTK_TELEGRAM_CHAT"):
        os.environ[name] = UserSecretsClient().get_secret(name)
"""
_KNOBS_TITLE = """
## Settings

Change what you like before the first session. Once a fold has begun to train, only `session.*` and `predict.*` may
change: with anything else it would be another training, and imettk refuses to mix the two. All fields:
`imettk train {recipe} --fields`.
"""
_RUN_TITLE = """
## Train

Checks the data, then trains fold after fold. An interrupted cell can be run again: it continues.
"""
_RUN = """
import imettk  # noqa: E402 (on the path only now)

run = imettk.open_run(
    session.run_dir, session.recipe, data=session.data, inputs=session.inputs, fields=session.resolve(KNOBS)
)
session.check_inputs(run.recipe)
run.prepare()
session.keep_models()  # the folds that earlier sessions finished: the next one may be given this output alone
for fold in FOLDS:
    if run.train(fold=fold).state[fold] != "done":
        break  # the session's time is over
run.status
"""
_SCORES_TITLE = """
## Scores

Out of fold, as soon as all of the folds above are done.
"""
_SCORES = """
from imettk.errors import PlainError  # noqa: E402 (on the path only now)

if all(run.status.state[FOLDS] == "done"):
    try:
        scores = run.validate()
    except PlainError as error:  # Kaggle attaches no output of a failed notebook: the models would be lost
        scores = f"not scored: {error}"
else:
    scores = "paused: add this notebook's output as an input, and save a new version"
scores
"""
_REPORT = """
run.report()
"""
_CLOSE = """
session.close()  # lists the output with its hashes, for `imettk kaggle pull`
"""
_SUBMIT = """
import imettk  # noqa: E402 (on the path only now)

run = imettk.open_run(session.run_dir, None, data=session.data, inputs=session.inputs)
if not session.agree():  # notebooks that trained different folds: the rule is fitted on all of them
    run.validate()
run.infer()
"""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The contents of the two notebooks.

    Attributes:
        recipe: a built-in name, or the name of a `.py` file in the pack.
        name: the recipe's own name.
        competition: the slug of the data's folder.
        sources: what has to be attached besides the pack, as kind and name.
        knobs: fields of the recipe by dotted name, with their values.
        owner: the user whose pack is attached.
    """

    recipe: str
    name: str
    competition: str
    sources: Sequence[tuple[str, str]] = ()
    knobs: Mapping[str, Any] = field(default_factory=dict)
    folds: Sequence[int] = (0,)
    owner: str = "your-name"
    machine: str = GPU

    def texts(self) -> dict[str, str]:
        """Return the notebooks as JSON, by file name."""
        settings = settings_text(self.recipe, self.competition)
        train = [
            markdown_cell(self._title(_TRAIN)),
            code_cell(f"{settings}FOLDS = {literal(list(self.folds))}  # of the recipe's folds\n"),
            code_cell(FIND_PACK + _OPEN.format(command="train")),
            markdown_cell(_MESSAGES),
            code_cell(_SECRETS),
            markdown_cell(_KNOBS_TITLE.format(recipe=self.recipe)),
            code_cell(_literal_of(self.knobs)),
            markdown_cell(_RUN_TITLE),
            code_cell(_RUN),
            markdown_cell(_SCORES_TITLE),
            *map(code_cell, (_SCORES, _REPORT, _CLOSE)),
        ]
        infer = [
            markdown_cell(self._title(_INFER)),
            code_cell(settings),
            code_cell(FIND_PACK + _OPEN.format(command="infer")),
            *map(code_cell, (_SUBMIT, _CLOSE)),
        ]
        notebooks = {"train": train, "infer": infer}
        return {f"{name}{SUFFIX}": to_notebook(cells, machine=self.machine) for name, cells in notebooks.items()}

    def _title(self, text: str) -> str:
        """Return a notebook's first cell, which names its inputs."""
        sources = [("dataset", f"{self.owner}/{DATASET}"), *self.sources]
        names = [f"the {kind} `{name}`{REMARKS.get(kind, '')}" for kind, name in sources]
        accelerator = "GPU T4 x2" if self.machine == GPU else self.machine
        return text.format(name=self.name, recipe=self.recipe, inputs=", ".join(names), accelerator=accelerator)


def knobs_of(recipe: Recipe, given: Recipe) -> dict[str, Any]:
    """Return the fields to offer for a change, with their values.

    They are the main ones, those in which a recipe differs from `given`, and those that name attached inputs, which
    only the session can find.
    """
    before = dict(leaves(given))
    knobs = {name: value for name, value in leaves(recipe) if _plain(name) in KNOBS or before.get(name) != value}
    for name, value in leaves(recipe):
        values = value if isinstance(value, tuple) else (value,)
        if any(isinstance(item, str) and item.startswith((INPUT, MODEL)) for item in values):
            knobs[name] = value
    return knobs


def _plain(name: str) -> str:
    """Return a field's name without the number of a stage."""
    return re.sub(r"\.\d+\.", ".", name)


def write_notebooks(out: Path, draft: Draft) -> list[Path]:
    """Write the two notebooks into a folder, and return their paths.

    Raises:
        DataError: a file is there already, and differs: somebody may have edited it.
    """
    texts = {out / name: text for name, text in draft.texts().items()}
    for path, text in texts.items():
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise DataError(f"{path} exists, and differs: give another --out, or remove it first")
    out.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        write_atomically(path, text.encode())
    return list(texts)


def _literal_of(knobs: Mapping[str, Any]) -> str:
    """Return the cell that sets the knobs, one a line."""
    lines = []
    for name, value in knobs.items():
        remark = KNOBS.get(_plain(name))
        lines.append(f"    {literal(name)}: {literal(value)},{f'  # {remark}' if remark else ''}")
    return "\n".join(["KNOBS = {", *lines, "}"])
