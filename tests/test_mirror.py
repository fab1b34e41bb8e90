"""A module's tests are found by its name; the few exceptions are listed, and the list only gets shorter."""

import ast
import functools
import re
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "imettk"
# A user types the names of the files in these folders.
TYPED = ("commands", "cli", "recipes")

# Module -> the test file that covers it: imports it, or runs a command or recipe that it serves.
COVERED_ELSEWHERE = {
    "commands/dry_run.py": "commands/test_train.py",
    "commands/replace_labels.py": "commands/test_identities_story.py",
    "commands/validate.py": "commands/test_story.py",
    "config/answers.py": "config/test_recipe.py",
    "config/data.py": "config/test_recipe.py",
    "config/fields.py": "config/test_recipe.py",
    "config/loss_params.py": "config/test_parameters.py",
    "config/model.py": "config/test_recipe.py",
    "config/section.py": "commands/test_train.py",
    "config/table.py": "config/test_recipe.py",
    "config/training.py": "config/test_recipe.py",
    "evaluation/by_ranking.py": "evaluation/test_curve.py",
    "evaluation/embeddings.py": "evaluation/test_ranker.py",
    "evaluation/ensemble_ranking.py": "commands/test_identities_story.py",
    "evaluation/identities.py": "evaluation/test_ranker.py",
    "evaluation/members.py": "commands/test_ensemble.py",
    "evaluation/pictures.py": "commands/test_identities_story.py",
    "experiment/known.py": "commands/test_find_duplicates.py",
    "experiment/scaling.py": "training/test_scaled_targets.py",
    "experiment/resume.py": "experiment/test_same_data.py",
    "metrics/agreement.py": "metrics/test_against_graders.py",
    "metrics/auc.py": "metrics/test_against_graders.py",
    "metrics/f1.py": "metrics/test_against_graders.py",
    "metrics/rows.py": "metrics/test_metric.py",
    "recipes/digits.py": "commands/test_story.py",
    "recipes/humpback2018.py": "commands/test_identities_story.py",
    "starter/finding.py": "commands/test_new.py",
    "starter/recipe_source.py": "commands/test_new.py",
    "starter/starts.py": "commands/test_new.py",
}


def module_paths() -> list[str]:
    """List every module of the package, as a path below it."""
    return sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def namesake(module: str) -> Path:
    """Return the place of a module's own test file."""
    return HERE / Path(module).parent / f"test_{Path(module).name}"


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Find the modules that a file imports anywhere in it, also through a package that hands their names on, or as
    "module:name" in a row."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {place for alias in node.names for place in places(alias.name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {place for alias in node.names for place in places(node.module, alias.name)}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"imettk[\w.]+:\w+", str(node.value)):
            found |= places(str(node.value).partition(":")[0])
    return frozenset(found)


def places(module: str, name: str = "") -> set[str]:
    """Return the file of a module of ours, or of the one that a package takes this name from; else nothing."""
    if module.partition(".")[0] != "imettk":
        return set()
    base = PACKAGE.joinpath(*module.split(".")[1:])
    if base.with_suffix(".py").is_file():
        return {str(base.with_suffix(".py").relative_to(PACKAGE))}
    if name and (base / f"{name}.py").is_file():
        return {str((base / name).with_suffix(".py").relative_to(PACKAGE))}
    for node in ast.parse((base / "__init__.py").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module != module and name in {alias.name for alias in node.names}:
            return places(node.module or "", name)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            return set(imported(base / "__init__.py"))  # rows, made of what stands in these modules
    return set()


@functools.cache
def served_by(module: str) -> frozenset[str]:
    """Follow a module's imports to all that it needs, itself among them."""
    found, ahead = {module}, [module]
    while ahead:
        new = imported(PACKAGE / ahead.pop()) - found
        found |= new
        ahead += new
    return frozenset(found)


def run_by(path: Path) -> set[str]:
    """Find the modules that serve a command or a recipe whose name a file has as a string."""
    strings = {
        node.value.lstrip("-").replace("-", "_")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    typed = {f"{wing}/{word}.py" for wing in TYPED for word in strings if word.isidentifier()}
    return set().union(*(served_by(module) for module in typed & set(module_paths())))


@pytest.mark.parametrize("module", module_paths())
def test_a_module_has_a_test_of_its_name_or_is_covered_elsewhere(module):
    if namesake(module).exists():
        assert module not in COVERED_ELSEWHERE, f"{module} has a test of its own: take it out of COVERED_ELSEWHERE"
        return
    assert module in COVERED_ELSEWHERE, f"{module}: write {namesake(module).relative_to(HERE.parent)}"
    test = HERE / COVERED_ELSEWHERE[module]
    assert test.name.startswith("test_") and test.is_file(), f"{module}: there is no tests/{COVERED_ELSEWHERE[module]}"
    assert module in imported(test) | run_by(test), f"tests/{COVERED_ELSEWHERE[module]} does not name {module}"


def test_whatever_is_listed_is_a_module():
    assert COVERED_ELSEWHERE.keys() <= set(module_paths())
