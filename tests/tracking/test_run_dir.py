"""Files are found in the run folder before the inputs, and inputs that do not belong together are refused."""

import dataclasses

import pytest

from imettk.config import Recipe, StageConfig, TrainConfig, from_json
from imettk.errors import MismatchError, MissingFileError
from imettk.recipes.digits import digits
from imettk.tracking.run_dir import RunDir


def put(root, name, content="x"):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


@pytest.fixture
def run(tmp_path):
    for name in ("run", "one", "two"):
        (tmp_path / name).mkdir()
    return RunDir(tmp_path / "run", [tmp_path / "one", tmp_path / "two"])


def test_the_own_file_comes_before_any_input(run):
    put(run.inputs[0], "folds.csv", "input")
    put(run.inputs[1], "folds.csv", "another")
    own = put(run.path, "folds.csv", "own")
    assert run.find("folds.csv", written_by="prepare") == own


def test_inputs_that_agree_are_one(run):
    first = put(run.inputs[0], "folds.csv", "same")
    put(run.inputs[1], "folds.csv", "same")
    assert run.find("folds.csv", written_by="prepare") == first


def test_any_input_will_do(run):
    only = put(run.inputs[1], "fold3/model.safetensors")
    assert run.model(3) == only


def test_inputs_that_disagree_are_refused(run):
    first, second = (put(folder, "folds.csv", folder.name) for folder in run.inputs)
    with pytest.raises(MismatchError, match=f"{first} and {second} differ: give only inputs"):
        run.find("folds.csv", written_by="prepare")


def test_a_missing_file_names_the_stage_and_where_it_was_sought(run):
    (run.path / "rule.json").mkdir()  # a folder is no file
    with pytest.raises(MissingFileError) as caught:
        run.find("rule.json", written_by="validate")
    assert "run `imettk validate` first" in str(caught.value)
    assert all(str(folder) in str(caught.value) for folder in (run.path, *run.inputs))


def test_an_input_that_is_no_folder_is_refused(tmp_path):
    put(tmp_path, "file")
    for name in ("file", "gone"):
        with pytest.raises(MissingFileError, match=f"--inputs: .*{name} is not a folder"):
            RunDir(tmp_path / "run", [tmp_path / name])


def test_folds_are_found_everywhere(run):
    assert run.trained_folds() == []
    put(run.inputs[0], "fold10/model.safetensors")
    put(run.inputs[1], "fold2/model.safetensors")
    put(run.path, "fold2/model.safetensors")
    put(run.path, "fold0/journal.jsonl")  # begun, not trained
    put(run.path, "fold_old/model.safetensors")
    assert run.trained_folds() == [2, 10]
    assert run.fold_everywhere(2) == [run.path / "fold2", run.inputs[1] / "fold2"]


def test_the_folder_of_a_fold_is_made(run):
    assert run.fold(4) == run.path / "fold4"
    assert (run.path / "fold4").is_dir() and run.fold(4).is_dir()
    assert not any(folder.joinpath("fold4").exists() for folder in run.inputs)


def with_stage(recipe: Recipe, **changes) -> Recipe:
    return dataclasses.replace(recipe, stages=(dataclasses.replace(recipe.stages[0], **changes),))


def test_a_saved_recipe_is_read_back_equal(run):
    run.save_recipe(digits())
    assert run.recipe() == digits() == from_json((run.path / "recipe.json").read_text())


def test_before_training_any_recipe_may_replace_another(run):
    run.save_recipe(digits())
    other = with_stage(digits(), batch_size=8)
    run.save_recipe(other)
    assert run.recipe() == other


@pytest.mark.parametrize("begun", ["fold1/checkpoints/step-00000001.safetensors", "fold1/model.safetensors"])
def test_after_training_began_another_recipe_is_refused_with_its_fields(run, begun):
    run.save_recipe(digits())
    put(run.path, begun)
    assert run.has_training()
    other = dataclasses.replace(with_stage(digits(), batch_size=8), train=TrainConfig(ema_decay=0.95, seed=3))
    with pytest.raises(MismatchError) as caught:
        run.save_recipe(other)
    message = str(caught.value)
    assert "stages.0.batch_size: 32 -> 8" in message and "train.seed: 0 -> 3" in message
    assert "ema_decay" not in message and "Use a new --run-dir" in message
    assert run.recipe() == digits()


def test_what_leaves_the_weights_alone_may_change_after_training(run):
    run.save_recipe(digits())
    put(run.path, "fold0/model.safetensors")
    session = dataclasses.replace(digits().session, num_workers=2)
    other = dataclasses.replace(digits(), session=session, name="renamed")
    run.save_recipe(other)
    assert run.recipe() == other


def test_training_in_an_input_binds_nothing_here(run):
    put(run.inputs[0], "fold0/model.safetensors")
    run.save_recipe(digits())
    run.save_recipe(with_stage(digits(), lr=(0.5,)))
    assert not run.has_training()
    assert run.recipe().stages[0] == dataclasses.replace(StageConfig(**vars(digits().stages[0])), lr=(0.5,))


def test_of_a_prepared_folder_only_the_data_counts(tmp_path):
    """Its trainings are of other runs."""
    run = RunDir(tmp_path / "run", prepared=[tmp_path / "other"])
    made = [put(tmp_path / "other", name) for name in ("folds.csv", "cache/index.json")]
    assert [run.find(name, written_by="prepare") for name in ("folds.csv", "cache/index.json")] == made
    for name in ("rule.json", "fold0/model.safetensors", "fold0/checkpoints/step-00000001.safetensors"):
        put(tmp_path / "other", name)
    assert run.find_optional("rule.json") is None and run.find_optional("fold0/model.safetensors") is None
    assert not (run.trained_folds() or run.with_training() or run.fold_everywhere(0))
    own = put(run.path, "folds.csv", "own")
    assert run.find("folds.csv", written_by="prepare") == own


def test_a_run_below_has_the_prepared_data_and_none_of_the_trainings(tmp_path):
    for name in ("now", "before"):
        (tmp_path / name / "fold0").mkdir(parents=True)
        (tmp_path / name / "fold0" / "model.safetensors").touch()
        (tmp_path / name / "folds.csv").write_text("id,fold\n")
    (tmp_path / "before" / "round1").mkdir()
    run = RunDir(tmp_path / "now", [tmp_path / "before"]).run_below("round1")
    assert run.path == tmp_path / "now" / "round1" and run.inputs == (tmp_path / "before" / "round1",)
    assert run.find("folds.csv", written_by="prepare") == tmp_path / "now" / "folds.csv"
    assert run.trained_folds() == [] and run.with_training() == []
