"""Start of a fold: its own newest checkpoint, or another training's weights.

A checkpoint is only taken for the same recipe and the same data: a training that went on with others would end with
weights that no uninterrupted run could have, and nobody could tell.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imettk.config import Recipe, differences, from_json
from imettk.data.data_identity import DataIdentity
from imettk.errors import CheckpointError, MismatchError, MissingFileError
from imettk.experiment.prepared import require_same_data
from imettk.experiment.settle import is_of, misfits
from imettk.files import write_atomically
from imettk.models.lora import merge_adapters
from imettk.progress import say
from imettk.tracking.journal import Journal, merge_journals, read_journal
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import TensorFile, read_tensors, read_values
from imettk.training.checkpoint import is_valid, load_newest, save_checkpoint

MAX_NAMED = 12  # tensors that do not fit, named one by one


def is_done(recipe: Recipe, run: RunDir, fold: int, data: DataIdentity, *, others_allowed: bool = False) -> bool:
    """Return whether a folder of the run has the fold's trained model.

    Raises:
        MismatchError: it is of another recipe, or of other data; what differs is named.
    """
    for folder in run.fold_everywhere(fold):
        if (path := folder / "model.safetensors").is_file():
            try:
                values = read_values(path)
            except CheckpointError as error:
                if not any(any(other.glob("checkpoints/step-*.safetensors")) for other in run.fold_everywhere(fold)):
                    raise
                say(f"warning: {error}: made again from the last checkpoint")
                continue
            if is_of(recipe, values):
                if others_allowed and not _is_of(values, data):
                    continue
                require_same_data(str(path), values, data)
                return True
            if not others_allowed:
                changed = "".join(f" ({text})" for text in misfits(recipe, values))
                raise MismatchError(
                    f"{path} was trained by another recipe{changed}; use a new --run-dir, or other --inputs, or "
                    "`--resume weights` to start from its weights"
                )
    return False


def find_checkpoint(
    recipe: Recipe,
    run: RunDir,
    fold: int,
    data: DataIdentity,
    *,
    others_allowed: bool = False,
    fits: Callable[[TensorFile], bool] = lambda _: True,
) -> TensorFile | None:
    """Return the newest valid checkpoint of this fold, of this recipe and data, in any folder of the run.

    Args:
        others_allowed: skip checkpoints of another recipe or other data instead of refusing to go on.

    Raises:
        MismatchError: the newest is of another recipe or of other data; what differs is named.
    """

    def is_ours(checkpoint: TensorFile) -> bool:
        ours = is_of(recipe, checkpoint.values)
        if ours and not others_allowed:
            require_same_data(f"fold {fold}", checkpoint.values, data)
            if "data" not in checkpoint.values:
                say(f"note: fold {fold} was begun by version 0.1.0, which recorded no rows or labels: not checked")
        if not ours and not others_allowed:
            old = from_json(json.dumps(checkpoint.values["recipe"]), where="the checkpoint")
            changed = differences(old, recipe) or misfits(recipe, checkpoint.values)
            raise MismatchError(
                f"fold {fold} has a checkpoint of another recipe: {'; '.join(changed)}. "
                "Use a new --run-dir, or the same settings, or `--resume weights` to start from its weights alone"
            )
        return ours and (not others_allowed or _is_of(checkpoint.values, data)) and fits(checkpoint)

    folders = [folder / "checkpoints" for folder in run.fold_everywhere(fold)]
    return load_newest(folders, warn=lambda text: say(f"warning: {text}"), fits=is_ours)


def _is_of(values: dict[str, Any], data: DataIdentity) -> bool:
    """Return whether a checkpoint or model is of this data, or did not record it."""
    return "data" not in values or not DataIdentity.from_values(values["data"]).changes_to(data)


@dataclass(frozen=True)
class OtherTraining:
    """Weights of another training.

    Attributes:
        values: the plain values of their file.
    """

    source: Path
    weights: dict[str, Tensor]
    values: dict[str, Any]


def load_other_weights(network: nn.Module, other: OtherTraining) -> None:
    """Load those of another training's weights that fit a network, and print which do not.

    Raises:
        MismatchError: none of the backbone's fits.
    """
    source, weights, own = other.source, other.weights, network.state_dict()
    taken = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not any(name.startswith("backbone.") for name in taken):
        raise MismatchError(f"{source}: none of its layers fits this backbone: was it trained with another one?")
    network.load_state_dict(taken, strict=False)
    say(f"weights of {source}: {len(taken)} of {len(own)} tensors taken ({_layers(taken)})")
    left = [name for name in {**own, **weights} if name not in taken]
    for name in left[:MAX_NAMED]:
        shapes = [tuple(state[name].shape) if name in state else "absent" for state in (weights, own)]
        say(f"  not taken: {name}, {shapes[0]} there, {shapes[1]} here")
    if left[MAX_NAMED:]:
        say(f"  nor {len(left) - MAX_NAMED} more ({_layers(left[MAX_NAMED:])})")


def carry_checkpoint(run: RunDir, fold: int, checkpoint: TensorFile) -> None:
    """Copy a checkpoint that was found in the inputs into the run folder.

    The next session may be given this folder alone, and this one may end before it has a checkpoint of its own.
    """
    folder, step = run.fold(fold) / "checkpoints", checkpoint.values["position"]["step"]
    path = folder / f"step-{step:08d}.safetensors"
    if not (path.is_file() and is_valid(path)):
        save_checkpoint(folder, step, checkpoint.tensors, checkpoint.values)  # the same bytes of weights, a new hash


def carry_journal(recipe: Recipe, run: RunDir, fold: int, data: DataIdentity, checkpoint: TensorFile | None) -> Journal:
    """Open the fold's journal, completed with what earlier sessions of this training wrote in the inputs.

    A fold that begins, even with another training's weights, begins a journal of its own.
    """
    own, *others = (folder / "journal.jsonl" for folder in run.fold_everywhere(fold))
    if checkpoint is not None and _last_step(own) < checkpoint.values["position"]["step"]:
        found = [path for path in others if path.is_file() and _holds_training(path.parent, recipe, data)]
        write_atomically(own, merge_journals([own, *found]))
    return Journal(own)


def _last_step(journal: Path) -> int:
    """Return the last step in a journal; -1 if it is empty or missing."""
    return max((event.get("step", 0) for event in read_journal(journal)), default=-1)


def _holds_training(folder: Path, recipe: Recipe, data: DataIdentity) -> bool:
    """Return whether the fold in this folder is of this recipe and data, by its model or a checkpoint."""
    for path in (folder / "model.safetensors", *sorted((folder / "checkpoints").glob("step-*.safetensors"))):
        try:
            values = read_values(path)
        except (OSError, CheckpointError):
            continue
        return is_of(recipe, values) and _is_of(values, data)
    return False


def find_other_training(run: RunDir, fold: int) -> OtherTraining:
    """Return the weights that another training left in the inputs.

    The trained model of this fold comes first, then its newest checkpoint, then those of the first other fold.

    Raises:
        MissingFileError: the inputs hold no weights.
    """
    folders = [path for root in run.inputs for path in sorted(root.glob("fold*")) if path.is_dir()]
    for folder in sorted(folders, key=lambda path: path.name != f"fold{fold}"):
        if (path := folder / "model.safetensors").is_file():
            model = read_tensors(path)
            return OtherTraining(path, model.tensors, model.values)
        checkpoint = load_newest([folder / "checkpoints"], warn=lambda text: say(f"warning: {text}"))
        if checkpoint is not None:
            weights, model = checkpoint.part("ema") or checkpoint.part("model"), checkpoint.values.get("model", {})
            if rank := model.get("lora_rank"):
                weights = merge_adapters(weights, rank=rank, alpha=model["lora_alpha"])
            return OtherTraining(folder / "checkpoints", weights, checkpoint.values)
    raise MissingFileError(
        "--resume weights: no --inputs folder holds a trained fold; give the run folder of another training there"
    )


def _layers(names: Iterable[str]) -> str:
    """Return the modules that tensors belong to, two names deep."""
    return ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))
