"""`prepare`: check the table and every image, make the folds, keep the images decoded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from imettk.config import Recipe, to_json
from imettk.data.asked_rows import find_row_source
from imettk.data.cache import INDEX, read_stamps
from imettk.data.containers import warn_slow_containers
from imettk.data.csv_files import read_csv
from imettk.data.data_identity import identify_data, read_identity
from imettk.data.file_facts import FileFacts, describe_facts
from imettk.data.folds import (
    GALLERY_ONLY,
    LEFT_OUT,
    is_beginning,
    make_table_folds,
    read_folds,
    write_folds,
)
from imettk.data.reader import ImageReader
from imettk.data.sample_table import LabelledTable, SampleTable
from imettk.data.source import ImageSource, cache_key, find_rows, image_names, make_reader, wanted_kinds
from imettk.data.stamps import FileStamps, stamp_files
from imettk.data.survey import CacheTarget, Survey, estimate_bytes, survey_images
from imettk.data.table import read_table, read_test_table
from imettk.data.value_survey import describe_levels
from imettk.errors import ConfigError, DataError, MismatchError, MissingFileError
from imettk.evaluation.rules import fitter_of
from imettk.evaluation.submit import check_sample
from imettk.experiment.fold_summary import describe_folds
from imettk.experiment.groups import row_groups
from imettk.experiment.value_range import TableValues, draw_range, settle_range
from imettk.files import write_atomically
from imettk.progress import say
from imettk.tracking.files import write_json
from imettk.tracking.lock import hold_folder
from imettk.tracking.pseudo_files import keep_pseudo
from imettk.tracking.run_dir import BAD_IMAGES, CACHE, DROPPED, DUPLICATE_GROUPS, RunDir


def prepare(recipe: Recipe, data_dir: Path, run: RunDir) -> None:
    """Write `recipe.json`, `folds.csv`, `table.json` (what was found and what was odd) and the cache of images.

    Every image is read once; `bad_images.csv` lists those that cannot be.

    Raises:
        DataError: the table is not what the recipe says, or images cannot be read; each fault is named and counted.
        ConfigError: the cache that the recipe asks for would not fit, or there are fewer labels than answers a row.
        MismatchError: the folder holds the training of another recipe, or of other data.
        BusyError: another `prepare` works in the folder.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    with hold_folder(run.path):
        _prepare(keep_pseudo(recipe, run.path), data_dir, run)


def _prepare(recipe: Recipe, data_dir: Path, run: RunDir) -> None:
    table = read_table(recipe.table, data_dir)
    _check_answers(recipe, table)
    from imettk.experiment.network_check import check_network  # torch and timm: not before a table was read

    warning = check_network(recipe, len(table.labels))
    remarks = list(table.remarks)
    tables: dict[str, SampleTable] = {"train": table}
    if find_row_source(recipe.table, data_dir) is not None:
        tables["test"] = read_test_table(recipe.table, data_dir, table)
        check_sample(recipe, data_dir, table.labels)
        remarks += tables["test"].remarks
    else:
        remarks.append(f"{data_dir / recipe.table.sample_csv} is missing: `infer` will need it")
    for remark in remarks:
        say(f"note: {remark}")
    if warning is not None:
        say(warning)
    run.save_recipe(recipe)
    in_files = TableValues(tables, make_reader(recipe))
    reader = make_reader(recipe, settle_range(recipe, run, in_files))
    survey = _survey(recipe, data_dir, run, tables, reader)
    odd = describe_levels(survey.histogram, deep=survey.facts.images > 0)
    if odd or survey.facts.images or recipe.images.white is not None:
        odd += draw_range(in_files, reader.white, run)
    odd += describe_facts(survey.facts, recipe.images.white)
    for remark in odd:
        say(f"note: {remark}")
    remarks += odd
    _tell_bad_images(recipe, run, tables, survey)
    folds = deal_folds(recipe, run, table)
    if run.has_training():
        folds = _kept_folds(run, table, folds)
        _require_same_data(recipe, run, table, folds, survey)
    write_folds(run.path / "folds.csv", table.ids, folds)
    found = {"rows": len(table), "mean": survey.mean, "std": survey.std, "remarks": remarks, "white": reader.white}
    write_json(run.path / "table.json", {"recipe": json.loads(to_json(recipe)), **found})
    say(describe_folds(recipe, table, folds))
    values = [", ".join(f"{value:.3f}" for value in channels) for channels in (survey.mean, survey.std)]
    say(f"channel mean {values[0]}, std {values[1]}, of values in [0, 1]")


def _kept_folds(run: RunDir, table: SampleTable, dealt: np.ndarray) -> np.ndarray:
    """Return the folds with which training began in this folder; those just `dealt` if the file is lost or was cut."""
    path = run.path / "folds.csv"
    try:
        folds = read_folds(path, table)
    except (MissingFileError, MismatchError):
        if not is_beginning(path, table.ids, dealt):
            raise
        say(f"note: {path} was cut or is gone: the folds are dealt again, which gives the same ones")
        return dealt
    say("kept the folds that training has begun with")
    return folds


def _require_same_data(recipe: Recipe, run: RunDir, table: LabelledTable, folds: np.ndarray, survey: Survey) -> None:
    """Raise `MismatchError` if a training in this folder began with other rows, labels or boxes."""
    bad = np.zeros(len(table), bool)
    if recipe.images.on_bad_image == "skip":
        bad[[row for row in survey.bad if row < len(table)]] = True  # the training table comes first
    identity = identify_data(table, folds, bad)
    for path in sorted(run.path.glob("fold*/model.safetensors")) or sorted(run.path.glob("fold*/checkpoints/step-*")):
        if (values := read_identity(path)) is not None and (changes := values.changes_to(identity)):
            raise MismatchError(
                f"{path.parent} was trained on other data ({'; '.join(changes)}): put the tables back as they were, or "
                "prepare them in another --run-dir"
            )


def _check_answers(recipe: Recipe, table: LabelledTable) -> None:
    """Raise `ConfigError` if the labels do not allow the answers, or there are too few: before any training."""
    if "ranked" not in recipe.rule_row.gives:
        fitter_of(recipe, table.label_groups, labels=table.labels)  # which refuses labels that it cannot answer with
        return
    config, targets = recipe.ranking, recipe.task.identities(table.targets)
    if recipe.answers_images or targets is None:
        return
    own = targets[(table.sources == 0) & (targets >= 0)]
    count = len(table.labels) if config.scored == "all" else len(np.unique(own))
    count += recipe.table.unknown_label is not None
    if count < config.num_answers:
        raise ConfigError(
            f"a row gets {config.num_answers} different answers, and there are {count}: set --ranking.num-answers lower"
        )


def deal_folds(recipe: Recipe, run: RunDir, table: LabelledTable) -> np.ndarray:
    """Deal the fold of each row, or why it has none, int64 (N,); known duplicates stay together."""
    folds = np.full(len(table), LEFT_OUT, np.int64)
    dropped = np.zeros(len(table), bool)
    if (path := run.find_optional(DROPPED)) is not None:
        dropped = np.isin(table.ids, read_csv(path)["id"].to_numpy(str))
        say(f"{path}: {int(dropped.sum())} duplicates neither train nor validate")
    kept = np.flatnonzero(~dropped)
    remaining = table.take(kept)
    groups = row_groups(remaining, run)
    if (path := run.find_optional(DUPLICATE_GROUPS)) is not None:
        assert groups is not None
        say(f"{path}: duplicates stay in one fold, {len(np.unique(groups))} groups in all")
    assert remaining.sources is not None  # a training table has them
    folds[kept] = make_table_folds(
        remaining.targets,
        remaining.sources,
        recipe.folds,
        task=recipe.task,
        validates=[True, *(extra.validates for extra in recipe.table.extra)],
        guessed=[False, *(extra.predictions is not None for extra in recipe.table.extra)],
        groups=groups,
    )
    if few := int((folds == GALLERY_ONLY).sum()):
        least = recipe.folds.min_images
        say(f"{few} rows are of identities with fewer than {least} images: they only stand in the gallery")
    if left_out := int((folds[kept] == LEFT_OUT).sum()):
        say(f"{left_out} rows of extra tables are left out: they are of one group with rows that validate")
    return folds


def _survey(recipe: Recipe, data_dir: Path, run: RunDir, tables: dict[str, SampleTable], reader: ImageReader) -> Survey:
    """Read every image of all tables once, into the cache if there is to be one."""
    sources = [ImageSource(table, reader) for table in tables.values()]
    places = [(source, row) for source in sources for row in range(len(source))]

    notes: dict[int, FileFacts] = {}

    def read(place: int) -> np.ndarray:
        source, row = places[place]
        facts = notes[place] = FileFacts()
        return source.read(row, facts=facts)

    names = [name for table in tables.values() for name in image_names(table, data_dir)]
    shape = (*reader.size, reader.channels)
    kind = _choose_kind(recipe, run, read, len(names), shape)
    cache = None
    if kind is None and (old := run.path / CACHE / INDEX).is_file():
        old.unlink()  # without it none is whole
        say(f"note: {old.parent}, of an earlier `prepare`, is not used any more and may be deleted")
    if kind is not None:
        key = cache_key(reader, kind, recipe.cache.quality, names)
        cache = CacheTarget(folder=run.path / CACHE, kind=kind, key=key, quality=recipe.cache.quality)
    paths = np.concatenate([table.paths for table in tables.values()])
    for line in warn_slow_containers(paths.tolist()) if cache is None else ():
        say(f"note: {line}")
    stamps = stamp_files(paths, recipe.table.channel_files, known=_known_stamps(run, names))
    return survey_images(read, names, stamps, shape, cache=cache, notes=notes)


def _known_stamps(run: RunDir, names: list[str]) -> FileStamps | None:
    """Return what an earlier `prepare` noted of these images' files; sizes are -2 for files that it did not know."""
    if (known := read_stamps(run.path / CACHE)) is None:
        return None
    rows = find_rows(known[0], np.array(names, np.str_))
    stamps = known[1].take(rows)
    return stamps._replace(sizes=np.where(rows >= 0, stamps.sizes, -2))


def _choose_kind(
    recipe: Recipe,
    run: RunDir,
    read: Callable[[int], np.ndarray],
    num_images: int,
    shape: tuple[int, int, int],
) -> str | None:
    """Return the first kind of cache that fits the recipe's limit and the disk, and print how large it will be."""
    run.path.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in (run.path / CACHE).glob("part-*"))
    free = shutil.disk_usage(run.path).free + there
    refused = []
    for kind in wanted_kinds(recipe.cache):
        needed = estimate_bytes(read, num_images, shape, kind, recipe.cache.quality)
        size = f"{num_images} images of {shape[0]} x {shape[1]} x {shape[2]} as {kind}: about {_size(needed)}"
        if needed <= min(recipe.cache.max_gb * 1e9, free):
            say(f"cache: {size}")
            return kind
        limit = f"`cache.max_gb` {recipe.cache.max_gb:g}" if needed <= free else f"{_size(free)} free"
        refused.append(f"{size}, more than {limit}")
    if recipe.cache.kind not in ("none", "auto"):
        raise ConfigError(f"the cache would not fit: {refused[0]}; set --cache.max-gb, --cache.kind auto or none")
    for line in refused:
        say(f"note: no cache of {line}")
    return None


def _size(count: int) -> str:
    """Return bytes as text, such as `2.4 GB`."""
    for unit, power in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= power:
            return f"{count / power:.3g} {unit}"
    return f"{count} bytes"


def _tell_bad_images(recipe: Recipe, run: RunDir, tables: dict[str, SampleTable], survey: Survey) -> None:
    """Write the list of bad images; those of the test set stop nothing, those to train on as the recipe says."""
    path = run.path / BAD_IMAGES
    if not survey.bad:
        path.unlink(missing_ok=True)
        return
    kinds = np.repeat(list(tables), [len(table) for table in tables.values()])
    ids = np.concatenate([table.ids for table in tables.values()])
    rows = sorted(survey.bad)
    frame = pd.DataFrame({"table": kinds[rows], "id": ids[rows], "fault": [survey.bad[row] for row in rows]})
    write_atomically(path, frame.to_csv(index=False).encode())
    for kind, faults in frame.groupby("table", sort=False)["fault"]:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        text = f"{len(faults)} of {len(tables[str(kind)])} {kind} images cannot be read: {'; '.join(faults[:3])}{more}"
        if kind == "train" and len(faults) == len(tables["train"]):
            raise DataError(f"{text} (all in {path}): none is left to train on")
        if kind == "train" and recipe.images.on_bad_image == "error":
            raise DataError(f"{text} (all in {path}); replace them, or leave them out with --images.on-bad-image skip")
        say(f"note: {text} (all in {path})")
