"""The command that a message names for a missing library is one that pip can fulfil."""

from importlib import metadata

import pytest

from imettk.extras import how_to_install, requirements


def test_a_message_names_the_libraries_of_the_extra(monkeypatch):
    lines = ["numpy>=1.26", 'h5py>=3.8; extra == "hdf5"', "kaggle>=2.2; extra == 'kaggle'", 'six ; extra=="kaggle"']
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    assert (requirements(), requirements("kaggle")) == (["numpy>=1.26"], ["kaggle>=2.2", "six"])
    assert how_to_install("kaggle", "six") == "pip install 'kaggle>=2.2' six (the extra `kaggle` of imettk)"
    assert how_to_install("x", "a_library") == "pip install a_library"  # of a row from outside the package


def test_sources_that_are_not_installed_name_the_library_alone(monkeypatch):
    """In a kernel imettk runs from the pack, often without a network."""

    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert how_to_install("hdf5", "h5py").startswith("pip install h5py, or where there is no network give its wheel to")
    with pytest.raises(metadata.PackageNotFoundError):
        requirements("hdf5")
