"""Where a fold goes on: its own newest checkpoint, or another training's weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from torch import Tensor, nn

from imettk.config import Recipe, differences, fingerprint, from_json
from imettk.errors import MismatchError, MissingFileError
from imettk.files import write_atomically
from imettk.progress import say
from imettk.tracking.journal import Journal
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import TensorFile, read_tensors, read_values
from imettk.training.checkpoint import load_newest, save_checkpoint

MAX_NAMED = 12  # tensors that do not fit, named one by one


def is_done(recipe: Recipe, run: RunDir, fold: int, *, others_allowed: bool = False) -> bool:
    """Whether some folder has the fold's trained model; one of another recipe is refused, or passed over."""
    for folder in run.fold_everywhere(fold):
        if (path := folder / "model.safetensors").is_file():
            if read_values(path)["fingerprint"] == fingerprint(recipe):
                return True
            if not others_allowed:
                raise MismatchError(
                    f"{path} was trained by another recipe; use a new --run-dir, or other --inputs, or "
                    "`--resume weights` to start from its weights"
                )
    return False


def find_checkpoint(
    recipe: Recipe,
    run: RunDir,
    fold: int,
    *,
    others_allowed: bool = False,
    fits: Callable[[TensorFile], bool] = lambda _: True,
) -> TensorFile | None:
    """The newest valid checkpoint of this fold, of this recipe, in any folder.

    Args:
        others_allowed: pass over those of another recipe instead of refusing to go on.

    Raises:
        MismatchError: the newest is of another recipe; the fields that differ are named.
    """

    def is_ours(checkpoint: TensorFile) -> bool:
        ours = checkpoint.values["fingerprint"] == fingerprint(recipe)
        if not ours and not others_allowed:
            old = from_json(json.dumps(checkpoint.values["recipe"]), where="the checkpoint")
            raise MismatchError(
                f"fold {fold} has a checkpoint of another recipe: {'; '.join(differences(old, recipe))}. "
                "Use a new --run-dir, or the same settings, or `--resume weights` to start from its weights alone"
            )
        return ours and fits(checkpoint)

    folders = [folder / "checkpoints" for folder in run.fold_everywhere(fold)]
    return load_newest(folders, warn=lambda text: say(f"warning: {text}"), fits=is_ours)


def load_other_weights(network: nn.Module, run: RunDir, fold: int) -> None:
    """Give a network what fits of the weights that another training left in the inputs, and print what did not.

    The inputs' trained model of this fold counts, else its newest checkpoint, else those of their first other fold.

    Raises:
        MissingFileError: the inputs hold no weights.
        MismatchError: they do, and none fits.
    """
    source, weights = _other_weights(run, fold)
    own = network.state_dict()
    taken = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not any(name.startswith("backbone.") for name in taken):
        raise MismatchError(f"{source}: none of its layers fits this backbone: was it trained with another one?")
    network.load_state_dict(taken, strict=False)
    say(f"weights of {source}: {len(taken)} of {len(own)} tensors taken ({_layers(taken)})")
    left = [name for name in {**own, **weights} if name not in taken]
    for name in left[:MAX_NAMED]:
        shapes = [tuple(one[name].shape) if name in one else "absent" for one in (weights, own)]
        say(f"  not taken: {name}, {shapes[0]} there, {shapes[1]} here")
    if left[MAX_NAMED:]:
        say(f"  nor {len(left) - MAX_NAMED} more ({_layers(left[MAX_NAMED:])})")


def carry_checkpoint(run: RunDir, fold: int, checkpoint: TensorFile) -> None:
    """Write a checkpoint that was found in the inputs into the run folder too.

    The next session may be given this folder alone, and this one may end before it has a checkpoint of its own.
    """
    folder, step = run.fold(fold) / "checkpoints", checkpoint.values["position"]["step"]
    if not any(folder.glob(f"step-{step:08d}.safetensors")):
        save_checkpoint(folder, step, checkpoint.tensors, checkpoint.values)


def carry_journal(run: RunDir, fold: int) -> Journal:
    """The fold's journal, begun with the longest of earlier sessions where the run folder has none."""
    own, *others = (folder / "journal.jsonl" for folder in run.fold_everywhere(fold))
    found = [path for path in others if path.is_file()]
    if not own.is_file() and found:
        write_atomically(own, max(found, key=lambda path: path.stat().st_size).read_bytes())
    return Journal(own)


def _other_weights(run: RunDir, fold: int) -> tuple[Path, dict[str, Tensor]]:
    folders = [path for root in run.inputs for path in sorted(root.glob("fold*")) if path.is_dir()]
    for folder in sorted(folders, key=lambda path: path.name != f"fold{fold}"):
        if (path := folder / "model.safetensors").is_file():
            return path, read_tensors(path).tensors
        checkpoint = load_newest([folder / "checkpoints"], warn=lambda text: say(f"warning: {text}"))
        if checkpoint is not None:
            return folder / "checkpoints", checkpoint.part("ema") or checkpoint.part("model")
    raise MissingFileError(
        "--resume weights: no --inputs folder holds a trained fold; give the run folder of another training there"
    )


def _layers(names: Iterable[str]) -> str:
    """The modules these tensors belong to, two names deep."""
    return ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))
