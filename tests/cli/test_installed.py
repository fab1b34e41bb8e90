"""Libraries and extras of imettk as they are installed here."""

import re
from importlib import metadata

from places import PROJECT

from imettk.cli import installed


def test_every_extra_for_users_has_a_purpose_and_is_documented():
    offered = set(metadata.distribution("imettk").metadata.get_all("Provides-Extra") or [])
    assert offered - {"all", "bench", "test"} == set(installed.PURPOSES)
    rows = re.findall(r"^\| `(\w+)` \|", (PROJECT / "docs/start.md").read_text(), re.MULTILINE)
    assert set(installed.PURPOSES) <= set(rows)


def test_libraries_that_are_missing_or_too_old_are_named(monkeypatch):
    real = installed.version_of
    assert not any(installed.missing_by_extra().values())  # the tests have all of them
    pretended = {"h5py": None, "kaggle": "1.7.4.5"}
    monkeypatch.setattr(installed, "version_of", lambda name: pretended.get(name, real(name)))
    missing = {extra: libraries for extra, libraries in installed.missing_by_extra().items() if libraries}
    assert missing == {"hdf5": ["h5py"], "kaggle": ["kaggle"]}


def test_without_metadata_nothing_is_known_of_extras(monkeypatch):
    def requires(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert installed.missing_by_extra() == {}
    assert installed.repair_command(["six"]) == "pip install --force-reinstall six"


def test_broken_libraries_are_installed_again_in_versions_that_imettk_takes():
    command = installed.repair_command(["torch", "delegator.py", "own"])
    assert command == "pip install --force-reinstall 'torch>=2.6' 'delegator.py>=0.1.1' own"
