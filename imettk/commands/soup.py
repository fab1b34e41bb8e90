"""`soup`: one network a fold, whose weights are the mean of several runs' (Wortsman et al. 2022, arXiv 2203.05482).

Predictions of a candidate are kept in `soups/` until the choice is made, so a killed command goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imettk.commands.assembly import training_data
from imettk.commands.ensemble import check_choice
from imettk.config import SCORE_SECTIONS, Recipe, differences, fingerprint, read_recipe
from imettk.data.sampling import derive_seed
from imettk.device import use_deterministic_algorithms
from imettk.errors import ConfigError, MismatchError
from imettk.evaluation.judge import judge_of
from imettk.evaluation.members import Member, join_members, read_member
from imettk.evaluation.soup import Soup, choose_soup
from imettk.experiment.candidates import FILE as SEARCH
from imettk.experiment.learned import Learned
from imettk.experiment.mean_model import mean_of_models, require_same_network, require_same_recipe
from imettk.experiment.predictions import TrainedModels
from imettk.experiment.prepared import Experiment, ImageRows, choose_compute, make_network, read_prepared
from imettk.experiment.rounds import FILE as ROUNDS
from imettk.experiment.settle import settle_as
from imettk.inference.predictor import load_predictions
from imettk.postprocess.greedy import MemberNumbers
from imettk.progress import say
from imettk.tracking.files import read_json, sha256, write_json
from imettk.tracking.run_dir import RunDir
from imettk.tracking.tensors import read_values, save_tensors
from imettk.training.batch_statistics import estimate_statistics, num_steps
from imettk.training.feed import Feed
from imettk.training.frozen import freeze
from imettk.training.schedule import plan_spans

SOUP, CANDIDATES, OOF = "soup.json", "soups", "oof.safetensors"


def soup(recipe: Recipe, data_dir: Path, run: RunDir, *, members: list[Path]) -> None:
    """Write `soup.json` and, if the soup gains out of fold, a run folder with its models and predictions.

    Args:
        recipe: its rule and metric judge, and its last stage feeds BatchNorm; as of the first member.
        members: run folders of the same network, labels, data and folds, all of them validated.

    Raises:
        ConfigError: there is a single member, or answers are no probabilities or values.
        MismatchError: the members differ in more than their training, or the folder holds something else.
    """
    if len(members) < 2:
        raise ConfigError(
            "--members must name two runs or more. The fold models of one run make no soup: each has trained on rows "
            "that another one validates, so no row is left to judge their mean by"
        )
    check_choice(run, members, "mean", None)
    source = RunDir(run.path, run.inputs or [members[0]])  # where `prepare` left its files
    for path in members:
        require_same_recipe(recipe, read_recipe(path / "recipe.json"), (str(members[0]), str(path)))
    prepared, compute = read_prepared(recipe, data_dir, source), choose_compute(recipe)
    judge = judge_of(recipe).oof_judge(prepared)
    if recipe.train.deterministic and compute.device.type == "cuda":
        use_deterministic_algorithms()
    soups = Soups(Experiment(recipe, run, prepared, compute), members, [read_member(path) for path in members])
    soups.check()
    if (content := soups.begin()) is None:
        made = choose_soup(judge, soups.predict, soups.names, soups.folds)
        content = soups.identity | _content(made, soups)
        if made.gains:
            soups.finish(made.choice.members, source)
        write_json(run.path / SOUP, content)
    _tell(content, judge.scorer.title)
    if content["is_made"]:
        say(f"{run.path}: the soup; `imettk validate` fits its rule, and shows the score that has seen the choice")
    shutil.rmtree(run.path / CANDIDATES, ignore_errors=True)


@dataclass(frozen=True)
class Soups:
    """Models and predictions of soups of some runs.

    Attributes:
        paths: of the runs.
        validated: their out-of-fold predictions.
    """

    experiment: Experiment
    paths: list[Path]
    validated: list[Member]

    @property
    def names(self) -> list[str]:
        return [member.name for member in self.validated]

    @property
    def folds(self) -> list[int]:
        return sorted(self.validated[0].oof)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Hash of the models, and of the recipe's sections that a choice depends on."""
        sections = fingerprint(self.experiment.recipe, SCORE_SECTIONS)
        models = [[sha256(self._model(number, fold)) for fold in self.folds] for number in range(len(self.paths))]
        return {"identity": hashlib.sha256(json.dumps([models, sections]).encode()).hexdigest()[:16]}

    def check(self) -> None:
        """Raise `MismatchError` if the runs cannot be averaged, or were validated in different ways."""
        recipe = self.experiment.recipe
        predict = recipe.predict
        for member, path in zip(self.validated, self.paths, strict=True):
            if set(member.oof) != set(self.folds):
                raise MismatchError(
                    f"{path} has the folds {sorted(member.oof)}, {self.paths[0]} {self.folds}: a soup needs the same"
                )
            for part in member.oof.values():
                if (part.values["views"], part.values["merge"]) != (list(predict.views), predict.merge):
                    raise MismatchError(
                        f"{path} was validated with the views {', '.join(part.values['views'])}, the soup is with "
                        f"{', '.join(predict.views)}: run `imettk validate` there again with the same"
                    )
                size = tuple(part.values.get("image_size", recipe.images.image_size))
                if size != recipe.predict_size:
                    raise MismatchError(
                        f"{path} was validated at {size[0]} x {size[1]} pixels, the soup is at "
                        f"{recipe.predict_size[0]} x {recipe.predict_size[1]}: run `imettk validate` there again "
                        "with the same --predict.image-size"
                    )
        for fold in self.folds:
            models = [self._model(number, fold) for number in range(len(self.paths))]
            require_same_network(models, self.experiment.prepared.identity)
            if not np.array_equal(np.sort(self._images(fold).ids), np.sort(self.validated[0].oof[fold].ids)):
                raise MismatchError(f"{self.paths[0]}: fold {fold} has other rows than --data: is it another table?")
        join_members(self.validated)  # raises: members have other rows, or other labels of a row

    def begin(self) -> dict[str, Any] | None:
        """Note what is being made; return the content of `soup.json` if it is made already.

        Raises:
            MismatchError: the run folder holds another soup, a training, a search, rounds, or another recipe.
        """
        run, identity = self.experiment.run, self.identity
        if held := [name for name in (SEARCH, ROUNDS) if (run.path / name).is_file()]:
            raise MismatchError(f"{run.path} holds {held[0]}, which is no soup's: use a new --run-dir")
        if (saved := run.path / "recipe.json").is_file() and (
            changed := differences(read_recipe(saved), self.experiment.recipe)
        ):
            raise MismatchError(f"{run.path} is of another recipe ({'; '.join(changed)}): use a new --run-dir")
        known = read_json(run.path / SOUP)
        if (known is None and run.has_training()) or (
            known is not None and known.get("identity") != identity["identity"]
        ):
            raise MismatchError(f"{run.path} holds another soup or a training: use a new --run-dir")
        if known is not None and "chosen" in known:
            say(f"{run.path / SOUP} is done already")
            return dict(known)
        run.path.mkdir(parents=True, exist_ok=True)
        write_json(run.path / SOUP, identity)
        return None

    def predict(self, members: MemberNumbers, fold: int) -> np.ndarray:
        """Return out-of-fold predictions of the soup of these runs, float32 (M, O), in the order of the table."""
        if len(members) == 1:
            part = self.validated[members[0]].oof[fold]
            ids = self._images(fold).ids
            order = np.argsort(part.ids)
            return part.merged[order[np.searchsorted(part.ids[order], ids)]]
        folder = self._candidate(members)
        if (path := folder.fold(fold) / OOF).is_file():
            return load_predictions(path).merged
        model = path.with_name("model.safetensors")
        self.make_model(members, fold, model)
        made = TrainedModels(self.experiment.recipe, folder, self.experiment.compute)
        probs = made.predict(fold, "oof", self._images(fold)).merged
        model.unlink()  # made again, with the same bits, if it is chosen: many candidates would fill the disk
        return probs

    def make_model(self, members: MemberNumbers, fold: int, path: Path) -> None:
        """Write the model of a fold: the mean of these runs' weights, and BatchNorm's statistics made for it."""
        recipe, prepared, compute = self.experiment.recipe, self.experiment.prepared, self.experiment.compute
        values = read_values(self._model(0, fold)) | {"fingerprint": fingerprint(recipe)}
        network = make_network(
            settle_as(recipe, values).recipe, len(prepared.table.labels), learned=Learned.from_values(values)
        )
        network.load_state_dict(mean_of_models([self._model(number, fold) for number in members]))
        network = network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        data = training_data(recipe, prepared, prepared, fold, seed=derive_seed(recipe.train.seed, fold))
        *_, span = plan_spans(recipe.stages, [data.samples_per_epoch(stage) for stage in recipe.stages])
        pin = compute.device.type == "cuda"
        feed = Feed(data, None, processes=compute.processes, num_workers=recipe.session.num_workers, pin=pin)
        # Under adapters the backbone's BatchNorm rests, too; the merged network does not show it.
        config = replace(span.config, freeze_batchnorm=span.config.freeze_batchnorm or recipe.model.lora_rank > 0)
        resting = freeze(network, network.layer_groups(recipe.model.layer_groups), config)
        estimate_statistics(network, feed.batches_after(span, num_steps(span)), compute=compute, resting=resting)
        save_tensors(path, network.state_dict(), values)

    def finish(self, members: MemberNumbers, source: RunDir) -> None:
        """Make the run folder of the soup: models, predictions, recipe, and the files that `prepare` left."""
        run = self.experiment.run
        for fold in self.folds:
            folder = run.fold(fold)
            self.make_model(members, fold, folder / "model.safetensors")
            shutil.copyfile(self._candidate(members).fold(fold) / OOF, folder / OOF)
        source.carry_prepared(run.path)
        run.save_recipe(self.experiment.recipe)

    def _model(self, number: int, fold: int) -> Path:
        return RunDir(self.paths[number]).model(fold)

    def _images(self, fold: int) -> ImageRows:
        prepared = self.experiment.prepared
        return prepared.images(prepared.rows(fold, valid=True))

    def _candidate(self, members: MemberNumbers) -> RunDir:
        return RunDir(self.experiment.run.path / CANDIDATES / "-".join(map(str, members)))


def _content(made: Soup, soups: Soups) -> dict[str, Any]:
    """Return what `soup.json` says of a choice."""
    names, choice, compared = soups.names, made.choice, made.compared

    def listed(members: MemberNumbers) -> list[str]:
        return [names[number] for number in members]

    content: dict[str, Any] = {
        "alone": dict(zip(names, choice.alone, strict=True)),
        "tried": {names[number]: score for number, score in choice.tried},
        "chosen": listed(choice.members),
        "chosen_by_other_folds": {str(fold): listed(members) for fold, members in made.by_fold.items()},
        "is_made": made.gains,
    }
    if compared is not None:
        content["gain"] = {"of": compared.first, "to": compared.second, "interval": [compared.low, compared.high]}
    return content


def _tell(content: dict[str, Any], title: str) -> None:
    """Print what `soup.json` says: scores that chose, the choice, and what it gains on rows that it has not seen.

    Args:
        title: of the metric.
    """
    alone, tried, chosen = content["alone"], content["tried"], content["chosen"]
    (best,) = set(alone) - set(tried)
    say(f"{'member':<32}{'alone':>9}{'soup':>9}  kept")
    for name in (best, *tried):
        soup = f"{tried[name]:9.4f}" if name in tried else f"{'':9}"
        say(f"{name:<32}{alone[name]:>9.4f}{soup}  {'yes' if name in chosen else 'no'}")
    if (gain := content.get("gain")) is None:
        say(f"no member gains: {best} alone is better than any soup with it, and no soup is made")
        return
    how = (
        "chosen by the other folds"
        if content["chosen_by_other_folds"]
        else "chosen on the same rows, which flatters it"
    )
    low, high = gain["interval"]
    say(
        f"{title} of the soup, {how}: {gain['to']:.4f}; of {best} {gain['of']:.4f}; difference "
        f"{gain['to'] - gain['of']:+.4f}, 95% interval {low:+.4f} to {high:+.4f}"
    )
    if not content["is_made"]:
        say("the gain was only that of the choice: no soup is made")
    elif not (low > 0 or high < 0):
        say("note: the gain does not stand out from the noise")
